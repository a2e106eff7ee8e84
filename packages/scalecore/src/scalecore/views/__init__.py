"""Views of a stored study for commands."""
