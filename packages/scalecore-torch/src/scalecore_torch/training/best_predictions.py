"""Stores a model's outputs for every window of a part, with the identity of each window."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from scalecore.api.predictions import Predictions, write_predictions
from scalecore.api.worker import read_description
from scalecore_torch.training.tasks import Task
from scalecore_torch.training.training_loop import TrainingLoop
from scalecore_torch.training.windows import WindowSource


def predictions_of(
    source: WindowSource, outputs_NC: Tensor, *, task: Task, part: str, epoch: int, data: Path
) -> Predictions:
    """The predictions for all windows of a part, with their identities; `data` is the folder of prepared data.

    `outputs_NC` are in the target's unit, like the stored labels.
    """
    rows, description = source.ends.cpu().numpy(), read_description(data)
    return Predictions(
        outputs=outputs_NC.numpy(),
        labels=source.labels.numpy(),
        times=np.load(data / "times.npy", mmap_mode="r", allow_pickle=False)[rows],
        rows=rows,
        about={
            "part": part,
            "epoch": epoch,
            "task": task.name,
            "data": description.fingerprint,
            "target": description.target.hash,
            "horizon": description.target.horizon,
            "point": task.point,
        },
    )


def best_predictions(trainer: TrainingLoop, data: Path) -> Predictions | None:
    """Validation logits of the best epoch; `data` is the folder of prepared data. None before the first epoch.

    Raises RuntimeError if their loss differs from the best epoch's loss: they would then be another epoch's, for
    example after a resume.
    """
    logits_NC, best = trainer.best_logits_NC, trainer.progress.best
    if logits_NC is None or best is None:
        return None
    loss = float(trainer.task.losses(logits_NC, trainer.validation.labels).double().mean())
    # No absolute tolerance, since it would depend on the target's unit.
    if not math.isclose(loss, best["val_loss"], rel_tol=1e-6):
        raise RuntimeError(
            f"the logits kept for epoch {best['epoch']} have the loss {loss!r}, that epoch had {best['val_loss']!r}"
        )
    return predictions_of(trainer.validation, logits_NC, task=trainer.task, part="val", epoch=best["epoch"], data=data)


def write_best(trainer: TrainingLoop, data: Path, path: Path) -> dict[str, Any] | None:
    """Write `best_predictions` to `path`. Returns the description of the file for the attempt's result, or None."""
    predictions = best_predictions(trainer, data)
    if predictions is None:
        return None
    digest = write_predictions(path, predictions)
    return {"sha256": digest, "part": "val", "epoch": predictions.about["epoch"], "windows": len(predictions)}
