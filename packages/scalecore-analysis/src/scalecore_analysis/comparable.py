"""Which studies are comparable: those with the same data, target and split, unless the user allows more."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from scalecore.api.errors import RefusedError
from scalecore.api.trials import StudyView
from scalecore_analysis.studies import labelled, listed

__all__ = ["differences", "refuse_incomparable"]


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


def refuse_incomparable(studies: Sequence[StudyView], *, allow: Iterable[str]) -> list[str]:
    """Return the differences, all allowed by name; raise `RefusedError` for any other (guard G07).

    Losses on different targets or windows are not comparable.
    """
    found = differences(studies)
    refused = [name for name in found if name not in set(allow)]
    if not refused:
        return found
    lines = []
    for name in refused:
        groups: dict[Any, list[str]] = {}
        for label, study in labelled(studies).items():
            groups.setdefault(_described(study, name), []).append(label)
        lines += [f"  {name}: {value}: {listed(labels)}" for value, labels in groups.items()]
    raise RefusedError(
        "the studies differ in "
        + ", ".join(refused)
        + ", so their results are not comparable:\n"
        + "\n".join(lines)
        + f"\nCompare fewer studies, or allow the differences: allow=[{','.join(found)}]",
        guard="G07",
    )


def _described(study: StudyView, name: str) -> str:
    """Describe a property of a study."""
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
