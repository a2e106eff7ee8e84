"""Evaluates stored weights on one part of the data, without training.

Only this module reads test windows. The driver records each use of the test set in the study's journal first.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from scalecore.api.predictions import write_predictions
from scalecore.api.worker import AttemptMonitor, Hyperparameters
from scalecore_torch.building import build_module
from scalecore_torch.spec import TorchSpec
from scalecore_torch.training.best_predictions import predictions_of
from scalecore_torch.training.inference import all_logits, probe_logits
from scalecore_torch.training.intervals import metric_intervals
from scalecore_torch.training.tasks import task_named
from scalecore_torch.training.user_parts import user_parts
from scalecore_torch.training.weights import load_weights
from scalecore_torch.training.windows import open_windows


def evaluate(spec: TorchSpec, monitor: AttemptMonitor, *, device: torch.device) -> dict[str, Any]:
    """Write the logits of the spec's part of the data to `predictions.npz`; return loss and metrics."""
    assert spec.part is not None, "every spec of an evaluation names its part, epoch and weights"
    assert spec.epoch is not None
    assert spec.weights is not None
    module = build_module(spec.to_build, Hyperparameters(spec.hyperparameters))
    load_weights(Path(spec.weights), module)
    data = Path(spec.data)
    source = open_windows(data, device=str(device))[spec.part]
    module.to(device)
    logits_NC = all_logits(
        module,
        source,
        evaluation=spec.evaluation or "fp32",
        on_batch=lambda number: monitor.step(epoch=1, step=number, phase="evaluate") == "go_on",
    )
    if logits_NC is None:
        return {"state": "stopped", "reason": None}
    parts = user_parts(spec.own)
    task, labels_N = task_named(spec.task, spec.loss, parts=parts, scale=source.scale), source.labels
    predictions = predictions_of(source, logits_NC, task=task, part=spec.part, epoch=spec.epoch, data=data)
    digest = write_predictions(monitor.folder.predictions, predictions)
    intervals, reasons = metric_intervals(task, logits_NC, labels_N, overlap=predictions.about["horizon"])
    return {
        "state": "completed",
        "reason": None,
        "device": str(device),
        "probe": probe_logits(module, spec.shape),
        "loss": float(predictions.losses().mean()),
        "metrics": task.metrics(logits_NC, labels_N) | ({"without_interval": reasons} if reasons else {}),
        "intervals": {"loss": intervals.pop("val_loss"), **intervals},
        "predictions": {"sha256": digest, "part": spec.part, "epoch": spec.epoch, "windows": len(predictions)},
    }
