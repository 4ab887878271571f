"""Telegram: the Bot API's webhook in, `sendMessage` and `editMessageText` out, and a simulator of Telegram's side."""
