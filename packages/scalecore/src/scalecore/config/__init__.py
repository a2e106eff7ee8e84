"""The experiment file: its keys as attrs classes, YAML with positions, problems, schema and reference."""
