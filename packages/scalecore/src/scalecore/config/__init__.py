"""The experiment file: its keys as attrs classes, its YAML with positions, its problems, its schema and reference."""
