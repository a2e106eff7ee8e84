"""Converts trial records to the JSON of the journal and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scalecore.api.files import plain
from scalecore.api.trials import Proposal, TrialRecord
from scalecore.config.kept import checked


def record_plain(record: TrialRecord) -> dict[str, Any]:
    """Convert to strict JSON types; NaN becomes None."""
    result: dict[str, Any] = plain(record)
    return result


def record_from(content: Mapping[str, object]) -> TrialRecord:
    """Read a record that `record_plain` stored; raise `ValueError` if it is invalid."""
    return checked(TrialRecord, content)


def proposed(proposal: object) -> Proposal:
    """Return a strategy's proposal as the journal returns it; raise `TypeError` or `ValueError` if it is invalid."""
    if not isinstance(proposal, Proposal):
        raise TypeError(f"expected a Proposal, got {proposal!r}")
    return checked(Proposal, plain(proposal))
