"""The public interface for packages that use models trained in torch, in addition to `scalecore.api`."""

from scalecore_torch.attempt import pick_device
from scalecore_torch.building import build_module
from scalecore_torch.spec import ModelToBuild, TorchSpec
from scalecore_torch.training.inference import all_logits, probe_logits
from scalecore_torch.training.intervals import metric_intervals
from scalecore_torch.training.tasks import task_named
from scalecore_torch.training.weights import load_weights
from scalecore_torch.training.windows import windows_over

__all__ = [
    "ModelToBuild",
    "TorchSpec",
    "all_logits",
    "build_module",
    "load_weights",
    "metric_intervals",
    "pick_device",
    "probe_logits",
    "task_named",
    "windows_over",
]
