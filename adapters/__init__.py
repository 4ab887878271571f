"""One folder per channel; the folder's name is the channel's kind."""
