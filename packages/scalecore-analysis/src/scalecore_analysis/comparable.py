"""Which studies may stand in one table: those of the same data, target and split, unless the user says otherwise."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from scalecore.api.errors import RefusedError
from scalecore.api.trials import StudyView
from scalecore_analysis.studies import labelled, listed

__all__ = ["differences", "refuse_incomparable"]


def identity_of(study: StudyView) -> dict[str, Any]:
    """What must be the same, by name; `values` are those of the data itself.

    The fingerprint covers target and split too, so it says something of the values only where all else is the same.
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
    """In which respects the studies differ."""
    identities = [identity_of(study) for study in studies]
    found = [name for name in ("features", "target", "split", "metric") if len({one[name] for one in identities}) > 1]
    others = [name for name in found if name != "metric"]
    if not others and len({one["values"] for one in identities}) > 1:
        found.append("values")
    return found


def refuse_incomparable(studies: Sequence[StudyView], *, allow: Iterable[str]) -> list[str]:
    """The differences, all of them allowed by name; raises `RefusedError` for one that is not (guard G07).

    Losses of different targets or windows are not on one scale.
    """
    found = differences(studies)
    refused = [name for name in found if name not in set(allow)]
    if not refused:
        return found
    lines = []
    for name in refused:
        groups: dict[Any, list[str]] = {}
        for label, study in labelled(studies).items():
            groups.setdefault(_told(study, name), []).append(label)
        lines += [f"  {name}: {value}: {listed(labels)}" for value, labels in groups.items()]
    raise RefusedError(
        "the studies differ in "
        + ", ".join(refused)
        + ", so their results cannot stand in one table:\n"
        + "\n".join(lines)
        + f"\nLeave some out, or ask for the comparison by name: allow=[{','.join(found)}]",
        guard="G07",
    )


def _told(study: StudyView, name: str) -> str:
    """What a study has, in words."""
    data = study.plan.data
    if name == "target":
        return data.target.text or data.target.hash[:12]
    if name == "split":
        first, last = data.parts["val"].samples
        return f"{data.split.kind}, validation {first} .. {last} ({data.split.hash[:12]})"
    if name == "features":
        return f"{data.name}, {len(data.features)} features, context {data.context}"
    if name == "metric":
        return " ".join(identity_of(study)["metric"])
    return data.fingerprint[:12]
