"""Sets a fresh machine up with the standard library alone; nothing at run time imports from this room."""
