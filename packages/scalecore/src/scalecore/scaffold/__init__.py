"""Create a plugin to start from: `scalecore new`."""
