"""Trial records as JSON and back: the journal's form, from which every other form is derived."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scalecore.api.files import plain
from scalecore.api.trials import Proposal, TrialRecord
from scalecore.config.kept import checked


def record_plain(record: TrialRecord) -> dict[str, Any]:
    """Strict JSON types; NaN becomes None."""
    result: dict[str, Any] = plain(record)
    return result


def record_from(content: Mapping[str, object]) -> TrialRecord:
    """The record that `record_plain` stored; `ValueError` for what is none."""
    return checked(TrialRecord, content)


def proposed(proposal: object) -> Proposal:
    """What a strategy proposed, as the journal gives it back; `TypeError` or `ValueError` for what it could not."""
    if not isinstance(proposal, Proposal):
        raise TypeError(f"expected a Proposal, got {proposal!r}")
    return checked(Proposal, plain(proposal))
