"""The customers' web chat: a page served by us, posting messages and reading one event stream."""
