"""The events of a journal, one class per event.

A line contains `seq`, `time` and `event`, then each field under its name in the order of the class. A class may get new
fields with a default: readers skip unknown keys, and lines of earlier versions lack them. A new event, or a field whose
meaning changes, requires another `FORMAT`.

A journal has the lowest format that its events need, so that earlier versions read every study without a newer event.
The first event with a higher `format` is preceded by another line `study` that names it (`StudyState.announced`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
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
    KeptPredictions,
    MemoryUse,
    MetricInterval,
    Part,
)
from scalecore.api.space import Architecture, Value
from scalecore.api.trials import (
    FIRST_RETRAINED,
    Origin,
    Outcome,
    Proposal,
    RestoredTrial,
    StudyEnd,
    TrialRecord,
    TrialState,
)
from scalecore.execution.attempt_result import EndClass
from scalecore.store.event_parts import Change, SmokeResult, StrategyReport
from scalecore.store.study_device import StudyDevice

FIRST_FORMAT = 1
"""The format of a new journal, stored in each event `study`. Version 0.1 wrote format 1 without a number."""

FORMAT = 2
"""The last format that this version reads and writes: 2 has the event `note` and
retrained trials."""

OMITTED = "omitted"
"""Metadata key of fields that are left out of the line if None, unless `given` names them."""

Json = Mapping[str, object]


def _omitted(*, key: str | None = None) -> Any:
    return field(default=None, metadata={OMITTED: True} | ({} if key is None else {KEY: key}))


@frozen(kw_only=True, slots=False)
class Event(Part):
    """Base of all events. The journal sets `seq`, which counts the lines from 0, and `time`."""

    name: ClassVar[str]
    seq: int = -1
    time: str = ""

    @property
    def format_needed(self) -> int:
        """The first format with this event."""
        return FIRST_FORMAT

    def plain(self) -> dict[str, Any]:
        """Return the content of the line after `seq`, `time` and `event`, as JSON types."""
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
        """Return the whole line."""
        return {"seq": self.seq, "time": self.time, "event": self.name, **self.plain()}


@frozen(kw_only=True, slots=False)
class StudyBegun(Event):
    """The resolved experiment and its plan: the first event, repeated by a run with a changed experiment or plan."""

    name = "study"
    format: int | None = _omitted()
    experiment: Json
    plan: PlanReport
    model: Json | None = _omitted()
    """The model with its files identified by content, if it names files."""
    id: str = ""
    """Hash of the first event's content, which identifies the study."""


@frozen(kw_only=True, slots=False)
class SearchChanged(Event):
    """The search changed; `left_out` are the trials that no longer count, by number, with the reason."""

    name = "changed"
    changes: Sequence[Change]
    left_out: Mapping[str, str]


@frozen(kw_only=True, slots=False)
class ImportedTrial(Event):
    """A result from elsewhere that warm-starts the strategy. It is not a trial of this study: it has no trial number,
    does not count and is never the best.
    """

    name = "imported"
    key: str
    source: str
    number: int | None = None
    """Its number in the study of origin."""
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
    """Flags that its study of origin stored; empty if the file has none."""

    def restored(self, number: int, *, space: Iterable[str]) -> RestoredTrial:
        """Return the trial as a strategy receives it: a negative number, and only hyper-parameters of the space."""
        proposal = Proposal(
            architecture=self.architecture,
            hyperparameters={name: self.hyperparameters[name] for name in space if name in self.hyperparameters},
            origin=Origin(kind="imported", label=self.source, reason="a result from elsewhere"),
        )
        outcome = Outcome(state=self.state, value=self.value, flags=self.flags)
        return RestoredTrial(number=number, proposal=proposal, outcome=outcome)


@frozen(kw_only=True, slots=False)
class RunStarted(Event):
    """A run of the study starts; `device` is set if an older version had not journalled it.

    `retrains` is set if it retrains trials after the search: the title of what it trains, with `total` trainings left.
    """

    name = "run_started"
    pid: int
    host: str
    versions: Mapping[str, str]
    total: int
    device: StudyDevice | None = _omitted()
    retrains: str | None = _omitted()

    @property
    def format_needed(self) -> int:
        return FIRST_FORMAT if self.retrains is None else 2


@frozen(kw_only=True, slots=False)
class Repaired(Event):
    """A repair before a run."""

    name = "repaired"
    message: str

    @classmethod
    def of_torn(cls, aside: Path) -> Repaired:
        """An incomplete last line was moved to this file."""
        return cls(message=f"an incomplete last line of the journal was moved to {aside.name}")


@frozen(kw_only=True, slots=False)
class SmokeStep(Event):
    """The smoke step, with its results by `smallest` and `largest`."""

    name = "smoke"
    versions: Mapping[str, str]
    results: Mapping[str, SmokeResult]
    device: StudyDevice | None = _omitted()


@frozen(kw_only=True, slots=False)
class AskedFor(Event):
    """A new trial. `phase` is that of the next trial; a replicate names the `trial` that it repeats and its number."""

    name = "asked"
    number: int
    hash: str
    seed: int
    hyperparameters: Mapping[str, Value]
    proposal: Proposal
    phase: str | None = _omitted()
    trial: int | None = _omitted()
    replicate: int | None = _omitted()

    @property
    def format_needed(self) -> int:
        return FIRST_FORMAT if self.number < FIRST_RETRAINED else 2


@frozen(kw_only=True, slots=False)
class DuplicateAvoided(Event):
    """A proposal that is identical to trial `duplicate_of`."""

    name = "duplicate"
    number: int
    duplicate_of: int
    proposal: Proposal


@frozen(kw_only=True, slots=False)
class AttemptStarted(Event):
    """The start of an attempt; `gpu` and `gpu_limit` on CUDA only."""

    name = "attempt_started"
    number: int
    index: int
    micro_batch: int
    activation_checkpointing: bool = False
    predicted_memory: int
    memory: MemoryUse | None = None
    """The memory prediction."""
    memory_limit: int | None = None
    gpu: str | None = _omitted()
    gpu_limit: int | None = _omitted()
    resumes: bool = False

    @property
    def limit(self) -> int | None:
        """The limit in bytes that applies to the predicted memory: on CUDA that of the GPU."""
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
    """The end of a trial, with its record."""

    name = "trial_finished"
    number: int
    record: TrialRecord


@frozen(kw_only=True, slots=False)
class NoteAdded(Event):
    """A note of the user (`scalecore status --note`), with the time at which it was written."""

    name = "note"
    key: str
    written: str
    text: str

    @property
    def format_needed(self) -> int:
        return 2


@frozen(kw_only=True, slots=False)
class Degraded(Event):
    """A component that was switched off during a run."""

    name = "degraded"
    message: str


@frozen(kw_only=True, slots=False)
class SearchExplained(Event):
    """The strategy's description of its search at the end of a run."""

    name = "explained"
    search: StrategyReport


@frozen(kw_only=True, slots=False)
class PhaseChanged(Event):
    """A new phase of the search, from the next trial on."""

    name = "phase"
    phase: str


@frozen(kw_only=True, slots=False)
class RunEnded(Event):
    """The end of a run; `counts` are finished trials by state, `retrains` as when it started."""

    name = "run_ended"
    end: StudyEnd
    reason: str | None = None
    counts: Mapping[str, int] = field(factory=dict)
    total: int | None = None
    retrains: str | None = _omitted()


@frozen(kw_only=True, slots=False)
class OpenedTestData(Event):
    """A command opened the test data, for a number of models."""

    name = "test_opened"
    by: str
    models: int
    hashes: Sequence[str] = ()
    data: str
    test: str


@frozen(kw_only=True, slots=False)
class MeasuredOnTestData(Event):
    """Results of a model on test data; `hash` identifies its training."""

    name = "test_measured"
    hash: str
    opening: int
    loss: float
    metrics: EpochResult
    intervals: Mapping[str, MetricInterval | None]
    probe: Sequence[Sequence[float]]
    device: str | None = None
    predictions: KeptPredictions
