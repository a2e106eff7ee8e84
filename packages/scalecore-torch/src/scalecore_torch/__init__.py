"""Training in PyTorch for scalecore: the trainer `torch` and the baseline model `linear`."""
