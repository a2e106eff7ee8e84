"""Several studies from one file."""
