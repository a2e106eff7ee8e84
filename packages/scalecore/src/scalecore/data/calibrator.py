"""A calibrator: from a model's logit to a probability that can be believed; stored as JSON, applied by numpy alone.

    calibrator = read_calibrator(study_folder, trial=record.number, identity=record.hash)

`scalecore analyze calibration` writes one for a trial, `scalecore evaluate` puts it into the model, `scalecore predict`
applies it. It belongs to one training, which it names by the trial's hash.
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
    """`temperature` and `platt` are sigmoid(slope * logit + intercept); `isotonic` joins the knots (logit, probability)
    by straight lines and is level beyond them. `about` tells what it was fitted on.
    """

    kind: str
    slope: float = 1.0
    intercept: float = 0.0
    logits: Sequence[float] = ()
    chances: Sequence[float] = ()
    about: Mapping[str, Any] = field(factory=dict, converter=_plain)

    def apply(self, logits: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Probabilities [windows] of the positive class from logits [windows]."""
        values = np.asarray(logits, dtype=np.float64)
        if self.kind == "isotonic":
            joined: npt.NDArray[np.float64] = np.interp(values, self.logits, self.chances)
            return joined
        return probabilities((self.slope * values + self.intercept)[:, None])[:, 0]

    def to_json(self) -> dict[str, Any]:
        """All fields as strict JSON types."""
        content: dict[str, Any] = plain(asdict(self))
        return content


def calibrator_from(content: Mapping[str, Any]) -> Calibrator:
    """What `to_json` made; `DataError` for a kind that this version does not know."""
    if content.get("kind") not in KINDS:
        raise DataError(f"a calibrator of kind {content.get('kind')!r}; this scalecore knows {', '.join(KINDS)}")
    names = ("kind", "slope", "intercept", "logits", "chances", "about")
    return Calibrator(**{name: content[name] for name in names})


def calibrator_file(trial: int) -> str:
    """Its name in `analyses/calibration` of the study's folder."""
    return f"trial_{trial:04d}.calibrator.json"


def read_calibrator(folder: Path, *, trial: int, identity: str) -> Calibrator | None:
    """The calibrator that was chosen for a trial of the study in `folder`.

    None where there is none, or where it is of another training than `identity`.
    """
    content = read_json(folder / "analyses" / "calibration" / calibrator_file(trial))
    if not isinstance(content, dict) or content.get("about", {}).get("hash") != identity:
        return None
    return calibrator_from(content)
