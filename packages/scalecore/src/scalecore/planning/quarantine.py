"""Quarantine: a shape that ran out of memory at its smallest micro-batch is not retried in the study (guard G40).

Computed from the records alone, so that a replay of the journal has the same result.
"""

from __future__ import annotations

from collections.abc import Sequence

from scalecore.api.trials import TrialRecord, TrialState

KIND = "quarantined"
LARGER = 1.1
"""A shape is retried if the memory limit is at least this many times that of its failure."""


def quarantine_flag(text: str) -> dict[str, str]:
    """Return the flag of the record that quarantines a shape."""
    return {"guard": "G40", "kind": KIND, "text": text}


def quarantined(records: Sequence[TrialRecord], architecture: str, *, limit: int | None) -> str | None:
    """Return why the architecture of this id may not run under a `limit` in bytes; None if it may.

    Only trials that ran count: a trial that the monitors refused is judged by the monitors again.
    """
    for record in records:
        if record.state is not TrialState.OUT_OF_MEMORY or record.architecture.id != architecture:
            continue
        if not record.attempts or not any(flag.kind == KIND for flag in record.flags):
            continue
        held = record.memory.limit
        if held is None or limit is None or limit < LARGER * held:
            return f"the shape is quarantined since trial {record.number}: {record.reason}"
    return None
