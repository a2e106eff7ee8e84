"""Writing a plugin package to start from: `scalecore new plugin`."""
