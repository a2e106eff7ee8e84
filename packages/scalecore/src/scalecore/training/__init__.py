"""One trial: from a module and windows to metrics and checkpoints."""
