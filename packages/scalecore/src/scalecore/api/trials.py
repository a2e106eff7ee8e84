"""A trial from proposal to record: the words that the driver, strategies, loggers and analyses share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from attrs import field, frozen

from scalecore.api.errors import ExitCode
from scalecore.api.record_parts import (
    AttemptSummary,
    Batching,
    ComputePolicy,
    DataSummary,
    Epoch,
    EpochResult,
    Flag,
    HardwareUse,
    KeptPredictions,
    MemoryUse,
    Timings,
)
from scalecore.api.space import Architecture, Value, copied

if TYPE_CHECKING:
    from scalecore.api.plan_report import PlanReport  # noqa: TC004  # it names proposals; nothing asks for the types of a view

__all__ = [
    "Epoch",
    "Origin",
    "OriginKind",
    "Outcome",
    "Progress",
    "Proposal",
    "RestoredTrial",
    "StudyEnd",
    "StudyView",
    "TrialRecord",
    "TrialState",
    "best_first",
    "best_trial",
    "is_ranked",
    "rank",
]


class TrialState(StrEnum):
    """How a trial ended. Only `completed` and `pruned` trials have a value; the others have a reason (guard G35)."""

    COMPLETED = "completed"
    PRUNED = "pruned"
    FAILED = "failed"
    OUT_OF_MEMORY = "out_of_memory"
    DIVERGED = "diverged"
    TIMED_OUT = "timed_out"


class StudyEnd(StrEnum):
    """Why a run of a study ended (guard G38)."""

    COMPLETED = "completed"
    EXHAUSTED = "exhausted"
    STOPPED = "stopped"
    TIMED_OUT = "timed_out"
    FAILED = "failed"

    @property
    def exit_code(self) -> ExitCode:
        """What the shell gets (guard G38)."""
        codes = {"stopped": ExitCode.STOPPED, "timed_out": ExitCode.TIMED_OUT, "failed": ExitCode.FAILED}
        return codes.get(self.value, ExitCode.COMPLETED)


OriginKind = Literal["forced", "startup", "sampled", "redirected", "replicate", "imported"]


@frozen(kw_only=True)
class Origin:
    """Where a trial comes from.

    `label` names a forced design (`d_model:min+n_layers:max`), and `reason` tells in words why this point was chosen.
    Where a rule of the strategy moved what its sampler had suggested, `moved_from` holds all parameters as suggested,
    `moved_to` those that differ in the trial, and `rule` names it (`coverage`, `running`, `memory`, `repeat`,
    `variation`).
    """

    kind: OriginKind
    label: str | None = None
    reason: str | None = None
    moved_from: Mapping[str, Value] | None = None
    moved_to: Mapping[str, Value] | None = None
    rule: str | None = None


@frozen(kw_only=True)
class Proposal:
    """What a strategy wants to be tried.

    An architecture of the feasible ones, a value for each parameter of the space.
    """

    architecture: Architecture
    hyperparameters: Mapping[str, Value] = field(converter=copied)
    origin: Origin


@frozen(kw_only=True)
class Outcome:
    """What a strategy is told. `value` is None unless the state is completed or pruned: a failure is never a number.

    `duplicate_of` is set where the proposal was not run, since the trial of that number ran exactly this: state, value
    and flags are the earlier trial's.
    """

    state: TrialState
    value: float | None = None
    reason: str | None = None
    duplicate_of: int | None = None
    flags: Sequence[Flag] = ()
    """What makes the value suspicious, as in the trial's record."""

    @property
    def collapsed(self) -> bool:
        """Whether the model predicts a constant (guard G09)."""
        return _flagged(self.flags, "collapsed")

    @property
    def censored(self) -> bool:
        """Whether the value says nothing of the configuration: it is that of a constant (guard G09), or a rate over too
        few windows (guard G19)."""
        return _flagged(self.flags, "collapsed", "small_denominator")


@frozen(kw_only=True)
class RestoredTrial:
    """A trial of the journal, given to a strategy when a study goes on; `outcome` is None while it is unfinished."""

    number: int
    proposal: Proposal
    outcome: Outcome | None
    reports: Mapping[int, float] = field(factory=dict)
    """The objective after each epoch, as `should_prune` was given it.

    A strategy that prunes needs it to go on as before.
    """


@frozen(kw_only=True)
class TrialRecord:
    """The one canonical record of a trial (guard G20); every file and table is derived from it.

    Missing is None, never a number. Times are UTC in ISO 8601, durations in seconds, memory in bytes.
    """

    number: int
    hash: str
    seed: int
    state: TrialState
    reason: str | None
    value: float | None
    origin: Origin
    architecture: Architecture
    hyperparameters: Mapping[str, Value]
    micro_batch: int | None = None
    accumulation: int | None = None
    started: str | None = None
    ended: str | None = None
    duration: float | None = None
    best: EpochResult | None = None
    last: EpochResult | None = None
    learning_curve: Sequence[Epoch] = ()
    loss: Mapping[str, object] | None = None
    """What was minimised, with all its settings; `val_loss` is the task's own loss whatever it was."""
    predictions: KeptPredictions | None = None
    """Where the logits of the best epoch are kept, with checksum, epoch and windows; read them with
    `scalecore.store.predictions.trial_predictions`."""
    data: DataSummary = DataSummary()
    timings: Timings = Timings()
    policy: ComputePolicy = ComputePolicy()
    throughput: float | None = None
    memory: MemoryUse = MemoryUse()
    batching: Batching = Batching()
    hardware: HardwareUse = HardwareUse()
    attempts: Sequence[AttemptSummary] = ()
    resumptions: int = 0
    flags: Sequence[Flag] = ()
    versions: Mapping[str, str] = field(factory=dict)

    @property
    def collapsed(self) -> bool:
        """Whether the model predicts a constant (guard G09)."""
        return _flagged(self.flags, "collapsed")

    @property
    def unsupported(self) -> bool:
        """Whether its value is a rate over too few windows (guard G19)."""
        return _flagged(self.flags, "small_denominator")


@frozen(kw_only=True)
class Progress:
    """What is going on now, given to loggers about once a second while a trial runs."""

    number: int
    phase: str
    epoch: int
    epochs: int
    step: int
    steps_per_epoch: int
    trial_seconds: float
    study_seconds_left: float | None
    readings: Mapping[str, str]
    """Short texts for people: `{"memory": "1.2 of 20.4 GB", "temperature": "unavailable (no sensor)"}`."""


@frozen(kw_only=True)
class StudyView:
    """A study as loggers and analyses see it: read-only, and enough to derive every file."""

    name: str
    folder: Path
    experiment: Mapping[str, Any]
    """The resolved experiment, every default filled in, as plain JSON types."""
    plan: PlanReport
    """What `scalecore plan --json` prints: data, splits, baselines, architectures, forced trials, memory, versions."""
    total: int
    trials: Sequence[TrialRecord]
    confirmations: Sequence[TrialRecord] = ()
    """Fresh trainings of configurations of the search under other seeds, with numbers of their own; in the order in
    which they ended."""
    running: Sequence[int] = ()
    duplicates_avoided: int = 0
    end: StudyEnd | None = None
    end_reason: str | None = None
    degraded: Sequence[str] = ()
    """What was switched off on the way, for instance a logger that raised."""
    left_out: Mapping[int, str] = field(factory=dict)
    """Trials of an earlier grid or space that do not fit today's, with the reason: they do not count, and are never
    best."""

    id: str = ""
    """Names this study for good, wherever its folder lies: it comes from the first line of the journal."""

    unfinished: Sequence[RestoredTrial] = ()
    """Trials that were asked for and have no record yet, whether they run or not. Their reports are there where the
    study is read from its folder; a logger was told them."""

    runs: bool = False
    """Whether somebody runs the study now, be a trial under way or not."""

    leader: TrialRecord | None = None
    """The best trial, where the maker of this view has it at hand: a run does not rank all trials at each end."""

    @property
    def state(self) -> str:
        """How the study ended; before that `running`, or `interrupted` where nobody runs it."""
        if self.end is not None:
            return str(self.end)
        return "running" if self.runs or self.running else "interrupted"

    @property
    def counted(self) -> Sequence[TrialRecord]:
        """The trials that count towards the total."""
        if not self.left_out:
            return self.trials
        return [trial for trial in self.trials if trial.number not in self.left_out]

    @property
    def budget(self) -> str:
        """The budget as the file wrote it, `none` where there is none; part of file names."""
        return str(self.experiment["search"].get("budget") or "none")

    @property
    def metric(self) -> str:
        """The metric of the objective."""
        return str(self.experiment["objective"]["metric"])

    @property
    def direction(self) -> str:
        """`minimize` or `maximize`."""
        return str(self.experiment["objective"]["direction"])

    @property
    def best(self) -> TrialRecord | None:
        """The first of `best_first`: one that is collapsed or unsupported only where no healthy one exists."""
        if self.leader is not None:
            return self.leader
        return best_trial(self.counted, direction=self.direction)


def _flagged(flags: Sequence[Flag], *kinds: str) -> bool:
    return any(flag.kind in kinds for flag in flags)


def best_first(trials: Sequence[TrialRecord], *, direction: str) -> list[TrialRecord]:
    """Completed trials from the best on, of equal ones the earlier.

    Behind all healthy ones are those whose value is over too few windows (guard G19), collapsed ones last (guard G09).
    """
    ranked = [trial for trial in trials if is_ranked(trial)]
    return sorted(ranked, key=lambda trial: rank(trial, direction=direction))


def is_ranked(trial: TrialRecord) -> bool:
    """Whether a trial has a place in `best_first`."""
    return trial.state is TrialState.COMPLETED and trial.value is not None


def rank(trial: TrialRecord, *, direction: str) -> tuple[bool, bool, float, int]:
    """What `best_first` sorts by, of a ranked trial."""
    value = trial.value or 0.0
    return trial.collapsed, trial.unsupported, value if direction == "minimize" else -value, trial.number


def best_trial(trials: Sequence[TrialRecord], *, direction: str) -> TrialRecord | None:
    """The first of them: one that is collapsed or unsupported only where no healthy one exists."""
    return next(iter(best_first(trials, direction=direction)), None)
