"""What this package uses of the trainer: the one place that knows where it is."""

from scalecore.data.windows import windows_over
from scalecore.execution.attempt import pick_device
from scalecore.execution.building import build_module
from scalecore.training.hyperparameters import Hyperparameters
from scalecore.training.inference import all_logits, probe_logits
from scalecore.training.weights import load_weights

__all__ = [
    "Hyperparameters",
    "all_logits",
    "build_module",
    "load_weights",
    "pick_device",
    "probe_logits",
    "windows_over",
]
