"""Shapes that ran out of memory at their smallest micro-batch: they are not tried again within the study (guard G40).

A function of the records, so that a replay of the journal finds the same.
"""

from __future__ import annotations

from collections.abc import Sequence

from scalecore.api.trials import TrialRecord, TrialState

KIND = "quarantined"
LARGER = 1.1
"""A machine or container whose limit is this many times that of the failure gives a shape another chance."""


def quarantine_flag(text: str) -> dict[str, str]:
    """The flag that a record of a quarantined shape carries."""
    return {"guard": "G40", "kind": KIND, "text": text}


def quarantined(records: Sequence[TrialRecord], architecture: str, *, limit: int | None) -> str | None:
    """Why the architecture of this id may not be tried under a `limit` in bytes; None where it may.

    Only a trial that ran tells something that the monitors do not know themselves.
    """
    for record in records:
        if record.state is not TrialState.OUT_OF_MEMORY or record.architecture.id != architecture:
            continue
        if not record.attempts or not any(flag.kind == KIND for flag in record.flags):
            continue
        held = record.memory.limit
        if held is None or limit is None or limit < LARGER * held:
            return f"the shape is in quarantine since trial {record.number}: {record.reason}"
    return None
