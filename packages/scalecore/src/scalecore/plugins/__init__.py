"""Finding, checking and importing plugins, and looking their components up by name."""
