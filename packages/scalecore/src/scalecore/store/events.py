"""The events of a journal: one class for each, as its lines hold them.

A line holds each field under its name, in the order of the class, behind `seq`, `time` and `event`. Fields may be
added to a class with a default: readers pass over keys that they do not know, and lines of earlier versions lack them.
A new event, or a field that changes its meaning, needs another `FORMAT`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

from attrs import field, fields, frozen

from scalecore.api.files import plain
from scalecore.api.plan_report import PlanReport
from scalecore.api.record_parts import (
    GIVEN,
    KEY,
    AttemptMemory,
    AttemptPlace,
    EpochResult,
    Flag,
    KeptInterval,
    KeptPredictions,
    MemoryUse,
    Part,
)
from scalecore.api.space import Architecture, Value
from scalecore.api.trials import Origin, Outcome, Proposal, RestoredTrial, StudyEnd, TrialRecord, TrialState
from scalecore.execution.attempt_result import EndClass
from scalecore.store.event_parts import Change, SmokeResult, StrategyReport
from scalecore.store.study_device import StudyDevice

FORMAT = 1
"""Of the journal; each event `study` has it. A journal without a number was written by version 0.1, in format 1."""

OMITTED = "omitted"
"""In the metadata of a field: left out of the line where it is None, unless `given` names it."""

Json = Mapping[str, object]


def _omitted(*, key: str | None = None) -> Any:
    return field(default=None, metadata={OMITTED: True} | ({} if key is None else {KEY: key}))


@frozen(kw_only=True, slots=False)
class Event(Part):
    """Base of all events. `seq` counts the lines from 0; it and `time` are given by the journal."""

    name: ClassVar[str]
    seq: int = -1
    time: str = ""

    def plain(self) -> dict[str, Any]:
        """What the line holds behind `seq`, `time` and `event`, as JSON types."""
        content: dict[str, Any] = {}
        for one in fields(type(self)):
            value = getattr(self, one.name)
            if one.name in (GIVEN, "seq", "time", "id"):
                continue
            if value is not None or OMITTED not in one.metadata or one.name in (self.given or ()):
                content[one.metadata.get(KEY, one.name)] = value
        result: dict[str, Any] = plain(content)
        return result

    def line(self) -> dict[str, Any]:
        """The whole line."""
        return {"seq": self.seq, "time": self.time, "event": self.name, **self.plain()}


@frozen(kw_only=True, slots=False)
class StudyBegun(Event):
    """The resolved experiment and its plan: the first event, and again when another run has other ones."""

    name = "study"
    format: int | None = _omitted()
    experiment: Json
    plan: PlanReport
    model: Json | None = _omitted()
    """The model with its files by their content, where it names files."""
    id: str = ""
    """Of the first event: its content as a hash, which names the study."""


@frozen(kw_only=True, slots=False)
class SearchChanged(Event):
    """The search is another one from here on; `left_out` are trials that no longer count, by number, and why."""

    name = "changed"
    changes: Sequence[Change]
    left_out: Mapping[str, str]


@frozen(kw_only=True, slots=False)
class ImportedTrial(Event):
    """A result from elsewhere that teaches the strategy. It is no trial of this study: it has no number in it, does not
    count, and is never its best.
    """

    name = "imported"
    key: str
    source: str
    number: int | None = None
    """In the study that it comes from."""
    state: TrialState
    value: float
    architecture: Architecture
    hyperparameters: Mapping[str, Value]
    missing: Sequence[str] = ()
    notes: Sequence[str] = ()
    fingerprint: str | None = None
    comparable: bool
    """Whether data, model, objective and training are proven to be those of the study."""
    flags: Sequence[Flag] = ()
    """What its own study found suspicious; empty where the file does not say."""

    def restored(self, number: int, *, space: Iterable[str]) -> RestoredTrial:
        """As a strategy is given it: under a negative number, with what it knows of today's space."""
        proposal = Proposal(
            architecture=self.architecture,
            hyperparameters={name: self.hyperparameters[name] for name in space if name in self.hyperparameters},
            origin=Origin(kind="imported", label=self.source, reason="a result from elsewhere"),
        )
        outcome = Outcome(state=self.state, value=self.value, flags=self.flags)
        return RestoredTrial(number=number, proposal=proposal, outcome=outcome)


@frozen(kw_only=True, slots=False)
class RunStarted(Event):
    """A run of the study begins; `device` where an older version had not journalled it."""

    name = "run_started"
    pid: int
    host: str
    versions: Mapping[str, str]
    total: int
    device: StudyDevice | None = _omitted()


@frozen(kw_only=True, slots=False)
class Repaired(Event):
    """What was put right before a run."""

    name = "repaired"
    message: str


@frozen(kw_only=True, slots=False)
class SmokeStep(Event):
    """The smoke step: what it measured by `smallest` and `largest`."""

    name = "smoke"
    versions: Mapping[str, str]
    results: Mapping[str, SmokeResult]
    device: StudyDevice | None = _omitted()


@frozen(kw_only=True, slots=False)
class AskedFor(Event):
    """A trial exists from here on. `phase` is that of the next one; `trial` and `replicate` say what this repeats."""

    name = "asked"
    number: int
    hash: str
    seed: int
    hyperparameters: Mapping[str, Value]
    proposal: Proposal
    phase: str | None = _omitted()
    trial: int | None = _omitted()
    replicate: int | None = _omitted()


@frozen(kw_only=True, slots=False)
class DuplicateAvoided(Event):
    """A proposal that trial `duplicate_of` has tried exactly."""

    name = "duplicate"
    number: int
    duplicate_of: int
    proposal: Proposal


@frozen(kw_only=True, slots=False)
class AttemptStarted(Event):
    """An attempt at a trial; `gpu` and `gpu_limit` on CUDA only."""

    name = "attempt_started"
    number: int
    index: int
    micro_batch: int
    activation_checkpointing: bool = False
    predicted_memory: int
    memory: MemoryUse | None = None
    """How its memory was predicted."""
    memory_limit: int | None = None
    gpu: str | None = _omitted()
    gpu_limit: int | None = _omitted()
    resumes: bool = False

    @property
    def limit(self) -> int | None:
        """Bytes that bound the memory that was predicted: on CUDA that of a GPU."""
        return self.gpu_limit if "gpu_limit" in (self.given or ()) else self.memory_limit


@frozen(kw_only=True, slots=False)
class AttemptEnded(Event):
    """How an attempt ended, with the evidence."""

    name = "attempt_ended"
    number: int
    index: int
    seconds: float | None = None
    end: EndClass = field(metadata={KEY: "class"})
    reason: str | None = None
    exit_code: int | None = None
    peak_memory: int | None = None
    last: AttemptPlace | None = None
    log_tail: str | None = None
    contained: Sequence[str] | None = None
    memory: AttemptMemory | None = None
    pauses: float | None = None
    paused_seconds: float | None = None
    checkpoint_seconds: float | None = None


@frozen(kw_only=True, slots=False)
class TrialFinished(Event):
    """A trial is over: its record."""

    name = "trial_finished"
    number: int
    record: TrialRecord


@frozen(kw_only=True, slots=False)
class Degraded(Event):
    """What was switched off on the way."""

    name = "degraded"
    message: str


@frozen(kw_only=True, slots=False)
class SearchExplained(Event):
    """What the strategy said of itself when a run ended."""

    name = "explained"
    search: StrategyReport


@frozen(kw_only=True, slots=False)
class PhaseChanged(Event):
    """The phase of the next trial."""

    name = "phase"
    phase: str


@frozen(kw_only=True, slots=False)
class RunEnded(Event):
    """How a run ended; `counts` are finished trials by state."""

    name = "run_ended"
    end: StudyEnd
    reason: str | None = None
    counts: Mapping[str, int] = field(factory=dict)
    total: int | None = None


@frozen(kw_only=True, slots=False)
class OpenedTestData(Event):
    """The test data was opened: by which command, for how many models."""

    name = "test_opened"
    by: str
    models: int
    hashes: Sequence[str] = ()
    data: str
    test: str


@frozen(kw_only=True, slots=False)
class MeasuredOnTestData(Event):
    """What a model reached on test data, by the `hash` of its training."""

    name = "test_measured"
    hash: str
    opening: int
    loss: float
    metrics: EpochResult
    intervals: Mapping[str, KeptInterval | None]
    probe: Sequence[Sequence[float]]
    device: str | None = None
    predictions: KeptPredictions
