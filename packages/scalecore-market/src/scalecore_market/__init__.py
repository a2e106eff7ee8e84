"""scalecore_market."""
