"""What is said: one folder a bot, editable by people who do not program."""
