"""The model's Markdown, read once and written in each platform's own markup; every channel may import this folder.

`parse.parse(text)` gives a `document.Document`, `growth.Growth` the same for a text that grows; `telegram`, `slack`,
`plain` and `web` write one; `source` writes it as Markdown again, and `split.split` cuts a Markdown text into parts
that each fit a platform. All of it is total: whatever the model wrote, and at whatever character it stopped, there is
a result and no exception.
"""
