"""The predictions of a model for every window of a part, stored to compare trials window by window.

One compressed `.npz` of plain arrays per trial, without pickles: reading it executes no code.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from attrs import field, frozen

from scalecore.api.errors import DataError, RefusedError
from scalecore.api.files import canonical_json, replacing
from scalecore.data.regression import cross_entropies


def _plain(about: Mapping[str, Any]) -> dict[str, Any]:
    return dict(about)


@frozen(kw_only=True, eq=False)
class Predictions:
    """Predictions of one model on one part of the data.

    `outputs` [windows, outputs] are logits, or forecasts in the target's unit; `labels` [windows] are in the same unit.
    Both are float32, or float64 for a forecast trained on another scale (`target_scale` of the data). `times`
    datetime64[ns] [windows] are the times of the windows' last rows, which identify a window in all studies of the same
    series. `rows` int64 [windows] are the numbers of these rows in the study's prepared data.

    `about` describes the predictions: `part` (`val` or `test`), `epoch` (the best one, from 1), `task`, `data` (the
    fingerprint), `target` (the hash of the label's definition), `horizon` (the overlap of labels), `point` (the column
    of `outputs` with the forecast itself).
    """

    outputs: npt.NDArray[np.floating[Any]]
    labels: npt.NDArray[np.floating[Any]]
    times: npt.NDArray[np.datetime64]
    rows: npt.NDArray[np.int64]
    about: Mapping[str, Any] = field(converter=_plain)

    def __len__(self) -> int:
        return len(self.outputs)

    def losses(self) -> npt.NDArray[np.float64]:
        """Return the losses [windows] with mean `val_loss`, whatever the training loss: cross-entropy in nats, or the
        squared error of the forecast."""
        outputs, labels = self.outputs.astype(np.float64), self.labels.astype(np.float64)
        if self.about["task"] == "forecast":
            squares: npt.NDArray[np.float64] = (outputs[:, self.about["point"]] - labels) ** 2
            return squares
        return cross_entropies(outputs, labels.astype(np.int64))


def common_windows(first: Predictions, second: Predictions) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the indices of the common windows in each, in order of time, for a paired comparison.

    Raises `RefusedError` if they have different targets (guard G07), `DataError` if they are from different parts.
    """
    for name in ("task", "target"):
        if first.about[name] != second.about[name]:
            raise RefusedError(
                f"predictions of two targets cannot be paired: {name} {first.about[name]} and {second.about[name]}",
                guard="G07",
            )
    if first.about["part"] != second.about["part"]:
        raise DataError(f"predictions of {first.about['part']} and of {second.about['part']} windows cannot be paired")
    _, ours, theirs = np.intersect1d(first.times, second.times, assume_unique=True, return_indices=True)
    return ours, theirs


def write_predictions(path: Path, predictions: Predictions) -> str:
    """Write the predictions to `path`, atomically and durably; return the SHA-256 of the file."""
    with replacing(path) as temporary:
        with temporary.open("wb") as stream:
            np.savez_compressed(
                stream,
                outputs=predictions.outputs,
                labels=predictions.labels,
                times=predictions.times,
                rows=predictions.rows,
                about=np.array(canonical_json(predictions.about)),
            )
        return checksum(temporary)


def read_predictions(path: Path) -> Predictions:
    """Read a file of `write_predictions`; raise `DataError` if it is missing or damaged."""
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
            about = json.loads(str(arrays["about"]))
            return Predictions(about=about, **{name: arrays[name] for name in ("outputs", "labels", "times", "rows")})
    except FileNotFoundError:
        raise DataError(f"{path}: no such file of predictions") from None
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path}: the predictions are damaged ({error}); restore the file from a backup") from None


def checksum(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
