"""What a model says about every window of a part, kept so that trials can be compared window by window.

One compressed `.npz` per trial, of plain arrays: nothing in it is pickled, and reading it executes nothing.
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
    """One model on one part of the data.

    `outputs` [windows, outputs]: logits, or forecasts in the target's unit; `labels` [windows] in that unit; both are
    float32, and float64 of a forecast that was trained on another scale (`target_scale` of the data); `times`
    datetime64[ns] [windows]: the time of each window's last row, which names the window in every study of the same
    series; `rows` int64 [windows]: the number of that row in the study's prepared data.

    `about` tells what they are of: `part` (`val` or `test`), `epoch` (the best one, from 1), `task`, `data` (the
    fingerprint), `target` (the hash of the label's definition), `horizon` (how often labels overlap), `point` (the
    column of `outputs` that is the forecast itself).
    """

    outputs: npt.NDArray[np.floating[Any]]
    labels: npt.NDArray[np.floating[Any]]
    times: npt.NDArray[np.datetime64]
    rows: npt.NDArray[np.int64]
    about: Mapping[str, Any] = field(converter=_plain)

    def __len__(self) -> int:
        return len(self.outputs)

    def losses(self) -> npt.NDArray[np.float64]:
        """[windows] the loss whose mean is `val_loss`, whatever the model was trained with: cross-entropy in nats, or
        the squared error of the forecast."""
        outputs, labels = self.outputs.astype(np.float64), self.labels.astype(np.float64)
        if self.about["task"] == "forecast":
            squares: npt.NDArray[np.float64] = (outputs[:, self.about["point"]] - labels) ** 2
            return squares
        return cross_entropies(outputs, labels.astype(np.int64))


def common_windows(first: Predictions, second: Predictions) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Indices into either of the windows that both have, in the order of time: a paired comparison is over these.

    Raises `RefusedError` where they predict different things (guard G07), `DataError` where they are of different
    parts.
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
    """Store them as `path`, whole or not at all, durably; the SHA-256 of the file."""
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
    """What `write_predictions` stored; `DataError` where it is missing or damaged."""
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
            about = json.loads(str(arrays["about"]))
            return Predictions(about=about, **{name: arrays[name] for name in ("outputs", "labels", "times", "rows")})
    except FileNotFoundError:
        raise DataError(f"{path}: there are no predictions here") from None
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path}: the predictions are damaged ({error}); bring the file back from a backup") from None


def checksum(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
