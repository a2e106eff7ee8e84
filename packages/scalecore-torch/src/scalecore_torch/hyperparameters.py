"""Hyper-parameters of the training loop."""

from __future__ import annotations

from scalecore.api.space import Hyperparameter

CORE_HYPERPARAMETERS = (
    Hyperparameter(name="learning_rate", default=3e-4, low=1e-8, high=10.0, help="Peak learning rate."),
    Hyperparameter(
        name="weight_decay",
        default=1e-3,
        low=0.0,
        high=10.0,
        help="Weight decay of matrices, decoupled in AdamW; biases and norms have none.",
    ),
    Hyperparameter(
        name="warmup_steps", default=100, low=0, high=10_000_000, help="Optimizer steps of the linear warm-up."
    ),
    Hyperparameter(name="epochs", default=50, low=1, high=1_000_000, help="Maximum passes over the training windows."),
)
