"""What makes the results of studies comparable: the same data, features, target, split and metric (guard G07)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from scalecore.api.trials import StudyView

__all__ = ["differences", "identity_of"]


def identity_of(study: StudyView) -> dict[str, Any]:
    """The properties that must be equal, by name; `values` is the fingerprint of the data.

    The fingerprint also covers target and split, so it identifies the values only if all else is equal.
    """
    data, objective = study.plan.data, study.experiment["objective"]
    return {
        "features": (data.name, tuple(data.features), data.context, data.normalise.kind),
        "target": data.target.hash,
        "split": data.split.hash,
        "metric": (study.metric, study.direction, objective["reduction"]),
        "values": data.fingerprint,
    }


def differences(studies: Sequence[StudyView]) -> list[str]:
    """The names of the properties in which the studies differ."""
    identities = [identity_of(study) for study in studies]
    found = [name for name in ("features", "target", "split", "metric") if len({one[name] for one in identities}) > 1]
    others = [name for name in found if name != "metric"]
    if not others and len({one["values"] for one in identities}) > 1:
        found.append("values")
    return found
