"""Slack: messages come over the Events API, replies go out over the Web API and grow by edits."""
