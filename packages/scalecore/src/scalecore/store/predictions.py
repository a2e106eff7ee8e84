"""Validation logits of the best epoch of each trial, kept beside the journal: `predictions/trial_0007.npz`.

    predictions = trial_predictions(view.folder, record)

The attempt writes them into its own folder; the driver takes them over before the trial's line enters the journal, and
the record holds their checksum, so that a file is known to be that of its trial.
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
    """Take over what an attempt's result names as its predictions: what the trial's record says of them.

    None where the attempt made none, or where its file is not the one that it named. Raises OSError on a full disk.
    """
    if found is None or not attempt.predictions.is_file() or checksum(attempt.predictions) != found.sha256:
        return None
    kept = folder.predictions(number)
    kept.parent.mkdir(exist_ok=True)
    with replacing(kept) as temporary:
        shutil.copyfile(attempt.predictions, temporary)
    return {"file": str(kept.relative_to(folder.path)), **found.plain()}


def trial_predictions(folder: Path, record: TrialRecord) -> Predictions | None:
    """The kept predictions of a finished trial of the study in `folder`.

    None where the record names none: the trial ended before its first epoch, or it was run before they were kept.
    Raises `DataError` where the file is missing, damaged, or not that of the record and its best epoch.
    """
    if record.predictions is None:
        return None
    path = folder / record.predictions.file
    if path.is_file() and checksum(path) != record.predictions.sha256:
        raise DataError(f"{path}: not the predictions that trial {record.number} made; bring them back from a backup")
    found = read_predictions(path)
    epoch = record.best.epoch if record.best else None
    if found.about["epoch"] != epoch:
        raise DataError(f"{path}: of epoch {found.about['epoch']}, the best one of trial {record.number} is {epoch}")
    return found
