"""An attempt that trains nothing: it measures kept weights on one part of the data.

The only place that looks at test windows. The driver counts the opening in the study's journal before it starts one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from scalecore.data.bootstrap import BOOTSTRAP_SEED, mean_interval, metric_interval
from scalecore.data.folder import read_description
from scalecore.data.predictions import Predictions, write_predictions
from scalecore.data.windows import open_windows
from scalecore.execution.building import build_module
from scalecore.execution.lifeline import AttemptMonitor
from scalecore.training.hyperparameters import Hyperparameters
from scalecore.training.inference import all_logits, probe_logits
from scalecore.training.tasks import Task, task_named
from scalecore.training.weights import load_weights

__all__ = ["evaluate"]

RESAMPLED = ("accuracy", "auc", "mae", "rmse", "sign_accuracy")
"""Metrics that get an interval, where the task has them."""


def evaluate(spec: Mapping[str, Any], monitor: AttemptMonitor, *, device: torch.device) -> dict[str, Any]:
    """Logits of `spec["part"]` into the attempt's `predictions.npz`; loss, metrics and intervals as the result."""
    module = build_module(spec, Hyperparameters(spec["hyperparameters"]))
    load_weights(Path(spec["weights"]), module)
    data = Path(spec["data"])
    source = open_windows(data, device=str(device))[spec["part"]]
    module.to(device)
    logits_NC = all_logits(
        module,
        source,
        told=lambda number: monitor.step(epoch=1, step=number, phase="evaluate") == "go_on",
    )
    if logits_NC is None:
        return {"state": "stopped", "reason": None}
    description, task = read_description(data), task_named(spec["task"])
    labels_N, rows = source.labels.cpu(), source.ends.cpu().numpy()
    predictions = Predictions(
        outputs=logits_NC.numpy(),
        labels=labels_N.numpy(),
        times=np.load(data / "times.npy", mmap_mode="r", allow_pickle=False)[rows],
        rows=rows,
        about={
            "part": spec["part"],
            "epoch": spec["epoch"],
            "task": spec["task"],
            "data": description.fingerprint,
            "target": description.target["hash"],
            "horizon": description.target["horizon"],
            "point": 0,
        },
    )
    digest = write_predictions(monitor.folder.predictions, predictions)
    metrics = task.metrics(logits_NC, labels_N)
    return {
        "state": "completed",
        "reason": None,
        "device": str(device),
        "probe": probe_logits(module, spec["shape"]),
        "loss": float(predictions.losses().mean()),
        "metrics": metrics,
        "intervals": _intervals(predictions, task, names=[n for n in RESAMPLED if n in metrics]),
        "predictions": {"sha256": digest, "part": spec["part"], "epoch": spec["epoch"], "windows": len(rows)},
    }


def _intervals(predictions: Predictions, task: Task, *, names: Sequence[str]) -> dict[str, Any]:
    """95 % intervals by block bootstrap, with the same blocks for all models and baselines (guard G02)."""
    overlap = max(1, predictions.about["horizon"])
    found = {"loss": mean_interval(predictions.losses(), overlap=overlap, seed=BOOTSTRAP_SEED)}
    for name in names:

        def metric(outputs: Any, labels: Any, name: str = name) -> float | None:
            value: float | None = task.metrics(torch.from_numpy(outputs), torch.from_numpy(labels))[name]
            return value

        found[name] = metric_interval(
            metric, predictions.outputs, predictions.labels, overlap=overlap, seed=BOOTSTRAP_SEED
        )
    return {name: None if interval is None else interval.to_json() for name, interval in found.items()}
