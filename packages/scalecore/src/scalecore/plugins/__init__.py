"""Find, check and import plugins, and look up their components by name."""
