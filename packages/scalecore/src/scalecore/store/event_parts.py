"""Parts of journal events."""

from __future__ import annotations

import json

from attrs import frozen

from scalecore.api.record_parts import Part


@frozen(kw_only=True)
class Change:
    """One key of the experiment with its value in the study and in the file; None where it is missing."""

    key: str
    before: object
    after: object

    def text(self) -> str:
        return f"{self.key}: {json.dumps(self.before)} -> {json.dumps(self.after)}"


@frozen(kw_only=True, slots=False)
class TracedMemory(Part):
    """The predicted memory of a whole trial in bytes, and the source of the prediction."""

    memory: int
    source: str | None = None


@frozen(kw_only=True, slots=False)
class SmokeResult(Part):
    """One step on one shape; `left_out` is the reason why it was skipped."""

    architecture: str | None = None
    of_a_trial: TracedMemory | None = None
    left_out: str | None = None
    seconds: float | None = None
    num_parameters: int | None = None
    device: str | None = None
    gpu: str | None = None
    torch: str | None = None
    micro_batch: int | None = None
    peak_memory: int | None = None
    predicted_memory: int | None = None


@frozen(kw_only=True, slots=False)
class RecommendedTrial(Part):
    """The trial that a strategy recommends."""

    number: int
    observed: float | None = None
    value: float | None = None
    deviation: float | None = None
    shape: str | None = None


@frozen(kw_only=True, slots=False)
class StrategyReport(Part):
    """The strategy's description of its search."""

    method: str
    phase: str | None = None
    recommended: RecommendedTrial | None = None
