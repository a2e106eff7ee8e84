"""Deletes files of finished trials except the weights of the best epochs of the best trials (guard G44)."""

from __future__ import annotations

import os
from collections.abc import Sequence

from scalecore.api.errors import StudyError
from scalecore.api.trials import TrialRecord
from scalecore.execution.folder import AttemptFolder
from scalecore.store.layout import StudyFolder


def holds_room(folder: StudyFolder, number: int) -> bool:
    """Whether attempts of a finished trial still have checkpoints or weights."""
    trial = folder.attempt(number, 0).parent
    return any(any(trial.glob(f"attempt_*/{name}")) for name in ("checkpoint*", "best_*.safetensors"))


def remove_checkpoints(folder: StudyFolder, number: int) -> None:
    """Delete the files in all attempts of a trial that only an unfinished trial needs."""
    for path in folder.attempt(number, 0).parent.glob("attempt_*"):
        AttemptFolder(path).remove_checkpoints()


def settle_weights(folder: StudyFolder, record: TrialRecord, kept: Sequence[TrialRecord]) -> None:
    """Keep the weights of the trials in `kept` and delete all others; called after `record` is in the journal.

    Weights are moved from the folder of the attempt to one place for all trials. If a driver dies in between, the next
    call completes the move.
    """
    # Compare numbers: a record read from the journal need not equal the one that was written.
    numbers = {one.number for one in kept}
    for one in (record, *kept):
        trial = folder.attempt(one.number, 0).parent
        target = folder.weights(one.number)
        if one.number in numbers and not target.exists():
            index = len(one.attempts) - 1
            attempt = AttemptFolder(folder.attempt(one.number, index))
            try:
                result = attempt.read_result(f"{one.number}-{index}")
            except StudyError:
                continue  # unknown which file contains the best weights, so none is deleted
            found = None if result is None else result.best_weights
            if found is not None and (trial / found).is_file():
                target.parent.mkdir(exist_ok=True)
                os.replace(trial / found, target)
        for path in trial.glob("attempt_*/best_*.safetensors"):
            path.unlink()
    names = {folder.weights(number).name for number in numbers}
    for path in folder.weights(0).parent.glob("trial_*.safetensors"):
        if path.name not in names:
            path.unlink()
