"""Trial records as JSON and back: the journal's form, from which every other form is derived."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

import attrs

from scalecore.api.files import plain
from scalecore.api.plan_report import PlanReport
from scalecore.api.space import Architecture
from scalecore.api.trials import Origin, OriginKind, Proposal, TrialRecord, TrialState
from scalecore.config.kept import structured

__all__ = [
    "architecture_from",
    "origin_from",
    "plan_of",
    "proposal_from",
    "proposal_plain",
    "proposed",
    "record_from",
    "record_plain",
]


def record_plain(record: TrialRecord) -> dict[str, Any]:
    """Strict JSON types; NaN becomes None."""
    result: dict[str, Any] = plain(attrs.asdict(record))
    return result


def record_from(content: Mapping[str, Any]) -> TrialRecord:
    """The record that `record_plain` stored."""
    known = {field.name for field in attrs.fields(TrialRecord)}
    values = {name: value for name, value in content.items() if name in known}
    values["state"] = TrialState(values["state"])
    values["origin"] = origin_from(values["origin"])
    values["architecture"] = architecture_from(values["architecture"])
    return TrialRecord(**values)


def proposed(proposal: Any) -> Proposal:
    """What a strategy proposed; `TypeError` for what the journal could not give back."""
    if not (
        isinstance(proposal, Proposal)
        and isinstance(proposal.origin, Origin)
        and proposal.origin.kind in get_args(OriginKind)
    ):
        raise TypeError(f"expected a Proposal with an Origin of a known kind, got {proposal!r}")
    return proposal


def proposal_plain(proposal: Proposal) -> dict[str, Any]:
    """Strict JSON types."""
    result: dict[str, Any] = plain(attrs.asdict(proposal))
    return result


def proposal_from(content: Mapping[str, Any]) -> Proposal:
    """The proposal that `proposal_plain` stored."""
    return Proposal(
        architecture=architecture_from(content["architecture"]),
        hyperparameters=content["hyperparameters"],
        origin=origin_from(content["origin"]),
    )


def origin_from(content: Mapping[str, Any]) -> Origin:
    """The origin that `attrs.asdict` stored; fields of a later version are passed over."""
    known = {field.name for field in attrs.fields(Origin)}
    return Origin(**{name: value for name, value in content.items() if name in known})


def plan_of(event: Mapping[str, Any]) -> PlanReport:
    """The plan of an event `study`; raises `StudyError` where it is damaged."""
    return structured(PlanReport, event["plan"], place="the event `study` of the journal: plan")


def architecture_from(content: Mapping[str, Any]) -> Architecture:
    """The architecture that `attrs.asdict` stored."""
    return Architecture(**content)
