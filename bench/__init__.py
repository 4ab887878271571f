"""What the house costs, measured in one run against simulated platforms; `python main.py bench` prints it."""
