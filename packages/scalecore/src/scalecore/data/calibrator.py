"""A calibrator maps a model's logit to a calibrated probability. It is stored as JSON and applied with numpy only.

    calibrator = read_calibrator(study_folder, trial=record.number, identity=record.hash)

`scalecore analyze calibration` writes one for a trial, `scalecore evaluate` adds it to the model, `scalecore predict`
applies it. It belongs to one training run, identified by the trial's hash.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from attrs import asdict, field, frozen

from scalecore.api.errors import DataError
from scalecore.api.files import plain, read_json
from scalecore.data.regression import probabilities

KINDS = ("temperature", "platt", "isotonic")


def _plain(about: Mapping[str, Any]) -> dict[str, Any]:
    return dict(about)


@frozen(kw_only=True)
class Calibrator:
    """A fitted calibrator; `about` describes the data of the fit.

    `temperature` and `platt` are sigmoid(slope * logit + intercept). `isotonic` interpolates linearly between the knots
    (logit, probability) and is constant beyond them.
    """

    kind: str
    slope: float = 1.0
    intercept: float = 0.0
    logits: Sequence[float] = ()
    chances: Sequence[float] = ()
    about: Mapping[str, Any] = field(factory=dict, converter=_plain)

    def apply(self, logits: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Return probabilities [windows] of the positive class from logits [windows]."""
        values = np.asarray(logits, dtype=np.float64)
        if self.kind == "isotonic":
            joined: npt.NDArray[np.float64] = np.interp(values, self.logits, self.chances)
            return joined
        return probabilities((self.slope * values + self.intercept)[:, None])[:, 0]

    def to_json(self) -> dict[str, Any]:
        """Return all fields as strict JSON types."""
        content: dict[str, Any] = plain(asdict(self))
        return content


def calibrator_from(content: Mapping[str, Any]) -> Calibrator:
    """Create a calibrator from the result of `to_json`; raise `DataError` for an unknown kind."""
    if content.get("kind") not in KINDS:
        raise DataError(f"unknown calibrator kind {content.get('kind')!r}; this version supports {', '.join(KINDS)}")
    names = ("kind", "slope", "intercept", "logits", "chances", "about")
    return Calibrator(**{name: content[name] for name in names})


def calibrator_file(trial: int) -> str:
    """Return the calibrator's file name in `analyses/calibration` of the study's folder."""
    return f"trial_{trial:04d}.calibrator.json"


def read_calibrator(folder: Path, *, trial: int, identity: str) -> Calibrator | None:
    """Return the calibrator chosen for a trial of the study in `folder`.

    None if there is none, or if it belongs to another training run than `identity`.
    """
    content = read_json(folder / "analyses" / "calibration" / calibrator_file(trial))
    if not isinstance(content, dict) or content.get("about", {}).get("hash") != identity:
        return None
    return calibrator_from(content)
