"""Loggers for scalecore: TensorBoard, MLflow, Weights & Biases. The entry point is `scalecore_trackers.plugin`."""
