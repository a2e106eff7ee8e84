"""Validation logits of the best epoch of each trial, kept next to the journal: `predictions/trial_0007.npz`.

    predictions = trial_predictions(view.folder, record)

The attempt writes them to its folder. The driver copies them before it journals the end of the trial, and the record
contains their checksum, which proves that a file belongs to its trial.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from scalecore.api.errors import DataError
from scalecore.api.files import replacing
from scalecore.api.trials import TrialRecord
from scalecore.data.predictions import Predictions, checksum, read_predictions
from scalecore.execution.attempt_result import MadePredictions
from scalecore.execution.folder import AttemptFolder
from scalecore.store.layout import StudyFolder


def keep_predictions(
    folder: StudyFolder, attempt: AttemptFolder, *, number: int, found: MadePredictions | None
) -> dict[str, Any] | None:
    """Copy the predictions that an attempt's result names; return their entry in the trial's record.

    None if the attempt wrote none, or if the file does not match its checksum. Raises OSError on a full disk.
    """
    if found is None or not attempt.predictions.is_file() or checksum(attempt.predictions) != found.sha256:
        return None
    kept = folder.predictions(number)
    kept.parent.mkdir(exist_ok=True)
    with replacing(kept) as temporary:
        shutil.copyfile(attempt.predictions, temporary)
    return {"file": str(kept.relative_to(folder.path)), **found.plain()}


def trial_predictions(folder: Path, record: TrialRecord) -> Predictions | None:
    """Read the stored predictions of a finished trial of the study in `folder`.

    None if the record names none: the trial ended before its first epoch, or an older version ran it. Raises
    `DataError` if the file is missing, damaged, or does not match the record and its best epoch.
    """
    if record.predictions is None:
        return None
    path = folder / record.predictions.file
    if path.is_file() and checksum(path) != record.predictions.sha256:
        raise DataError(f"{path}: not the predictions of trial {record.number}; restore the file from a backup")
    found = read_predictions(path)
    epoch = record.best.epoch if record.best else None
    if found.about["epoch"] != epoch:
        was = found.about["epoch"]
        raise DataError(f"{path}: predictions of epoch {was}, the best epoch of trial {record.number} is {epoch}")
    return found
