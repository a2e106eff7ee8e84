"""The training loop: losses, metrics, precision, compilation, checkpoints."""
