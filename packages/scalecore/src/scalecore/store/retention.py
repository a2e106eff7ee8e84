"""Deletes files of finished trials except the weights of the best epochs of the best trials (guard G44)."""

from __future__ import annotations

import os
from collections.abc import Sequence

from scalecore.api.errors import StudyError
from scalecore.api.trials import FIRST_RETRAINED, TrialRecord
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
        keep_best_weights(folder, one, keep=one.number in numbers)
    names = {folder.weights(number).name for number in numbers}
    for path in folder.weights(0).parent.glob("trial_*.safetensors"):
        number = path.stem.removeprefix("trial_")
        # Those of retrained trials are deleted by the command that needs them; other files are not ours.
        if path.name not in names and number.isdecimal() and int(number) < FIRST_RETRAINED:
            path.unlink()


def keep_best_weights(folder: StudyFolder, record: TrialRecord, *, keep: bool) -> None:
    """Move the best epoch's weights of a finished trial out of its attempts, or delete them there."""
    trial, target = folder.attempt(record.number, 0).parent, folder.weights(record.number)
    if keep and not target.exists():
        index = len(record.attempts) - 1
        attempt = AttemptFolder(folder.attempt(record.number, index))
        try:
            result = attempt.read_result(f"{record.number}-{index}")
        except StudyError:
            return  # unknown which file contains the best weights, so none is deleted
        found = None if result is None else result.best_weights
        if found is not None and (trial / found).is_file():
            target.parent.mkdir(exist_ok=True)
            os.replace(trial / found, target)
    for path in trial.glob("attempt_*/best_*.safetensors"):
        path.unlink()
