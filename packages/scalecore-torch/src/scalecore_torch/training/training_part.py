"""Measures the training part at the best epoch in evaluation mode, once, at the end of a trial.

The training loss in the learning curve is measured with dropout, and while the weights change, so its distance to the
validation loss does not show how far a model overfits. The loss measured here does.
"""

from __future__ import annotations

from pathlib import Path

from scalecore.api.record_parts import OutputSpread, TrainingPartResult
from scalecore.api.training import TrainingMonitor
from scalecore_torch.training.evaluation_batch import EVALUATION_BATCH
from scalecore_torch.training.inference import all_logits
from scalecore_torch.training.training_loop import TrainingLoop
from scalecore_torch.training.weights import load_weights


def measure_training_part(
    trainer: TrainingLoop, monitor: TrainingMonitor, *, best_weights: Path, fingerprint: str
) -> TrainingPartResult | None:
    """Loss and metrics over all training windows with the weights of the best epoch, as validation measures them.

    `fingerprint` is that of the final weights. If the monitor stops the trial, this writes a checkpoint, from which the
    next attempt only repeats the measurement, and returns None. Training cannot continue afterwards.
    """
    progress = trainer.progress
    assert progress.best is not None, "a completed trial has a best epoch"
    epoch, last = int(progress.best["epoch"]), progress.epoch - 1
    trainer.release()
    if trainer.final_weights is None and epoch != last:
        load_weights(best_weights, trainer.module)
    trainer.final_weights = fingerprint
    # No more windows at once than validation has, so that this needs no more memory.
    batch = min(max(EVALUATION_BATCH, trainer.micro_batch), len(trainer.validation))
    logits_NC = all_logits(
        trainer.module,
        trainer.train,
        evaluation=trainer.policy.evaluation,
        batch=batch,
        on_batch=lambda number: monitor.step(epoch=last, step=number, phase="evaluate") != "stop",
    )
    if logits_NC is None:
        monitor.checkpoint(trainer.state())
        return None
    labels_N, task = trainer.train.labels, trainer.task
    metrics = task.metrics(logits_NC, labels_N)
    if "val_training_loss" in metrics:
        metrics["training_loss"] = metrics.pop("val_training_loss")
    return TrainingPartResult(
        epoch=epoch,
        windows=len(labels_N),
        loss=float(task.losses(logits_NC, labels_N).double().mean()),
        confusion_matrix=metrics.pop("confusion_matrix", None),
        predictions=OutputSpread(**metrics.pop("predictions")),
        metrics=metrics,
    )
