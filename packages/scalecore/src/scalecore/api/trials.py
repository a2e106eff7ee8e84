"""A trial from proposal to record: the types shared by the driver, strategies, loggers and analyses."""

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
    TrainingPartResult,
)
from scalecore.api.space import Architecture, Value, copied

if TYPE_CHECKING:
    from scalecore.api.plan_report import PlanReport  # noqa: TC004  # imports this module

__all__ = [
    "FIRST_RETRAINED",
    "Epoch",
    "Note",
    "Origin",
    "OriginKind",
    "Outcome",
    "Progress",
    "Proposal",
    "RestoredTrial",
    "Retraining",
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
    """The final state of a trial. Only `completed` and `pruned` trials have a value; others have a reason (G35)."""

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
        """The exit code of `scalecore run` (guard G38)."""
        codes = {"stopped": ExitCode.STOPPED, "timed_out": ExitCode.TIMED_OUT, "failed": ExitCode.FAILED}
        return codes.get(self.value, ExitCode.COMPLETED)


OriginKind = Literal["forced", "startup", "sampled", "redirected", "replicate", "transfer", "final", "imported"]
"""A `replicate` repeats a trial with a fresh seed, a `transfer` trains the best configuration of another budget, and a
`final` trial is the one that `scalecore evaluate` evaluates."""

FIRST_RETRAINED = 1_000_000
"""Trials from this number on were trained after the search. They do not count towards its total, and the strategy never
receives them. The numbers of the search have no gaps, however often it is extended after a confirmation."""


@frozen(kw_only=True)
class Origin:
    """The origin of a trial.

    `label` names a forced design (`d_model:min+n_layers:max`), and `reason` states as text why this point was chosen.
    If a rule of the strategy moved the suggestion of its sampler, `moved_from` contains all suggested parameters,
    `moved_to` those that differ in the trial, and `rule` the name of the rule (`coverage`, `running`, `memory`,
    `repeat`, `variation`).
    """

    kind: OriginKind
    label: str | None = None
    reason: str | None = None
    moved_from: Mapping[str, Value] | None = None
    moved_to: Mapping[str, Value] | None = None
    rule: str | None = None


@frozen(kw_only=True)
class Proposal:
    """A trial proposed by a strategy: a feasible architecture, and a value for each hyper-parameter of the space."""

    architecture: Architecture
    hyperparameters: Mapping[str, Value] = field(converter=copied)
    origin: Origin


@frozen(kw_only=True)
class Outcome:
    """The outcome of a trial, for the strategy. `value` is None unless the state is completed or pruned.

    `duplicate_of` is set if the proposal was not run because the trial of that number already ran it; state, value and
    flags are then those of the earlier trial.
    """

    state: TrialState
    value: float | None = None
    reason: str | None = None
    duplicate_of: int | None = None
    flags: Sequence[Flag] = ()
    """Warnings about the value, as in the trial's record."""

    @property
    def collapsed(self) -> bool:
        """True if the model predicts a constant (guard G09)."""
        return _flagged(self.flags, "collapsed")

    @property
    def censored(self) -> bool:
        """True if the value does not describe the configuration.

        It is that of a constant prediction (guard G09) or a rate over too few windows (guard G19).
        """
        return _flagged(self.flags, "collapsed", "small_denominator")


@frozen(kw_only=True)
class RestoredTrial:
    """A trial of the journal, passed to a strategy on resume; `outcome` is None while it is unfinished."""

    number: int
    proposal: Proposal
    outcome: Outcome | None
    reports: Mapping[int, float] = field(factory=dict)
    """The objective after each epoch, as passed to `should_prune`; a strategy that prunes needs it."""


@frozen(kw_only=True)
class TrialRecord:
    """The canonical record of a trial (guard G20), from which every file and table is derived.

    Missing values are None, never a number. Times are UTC in ISO 8601, durations in seconds, memory in bytes.
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
    train: TrainingPartResult | None = None
    """Results on the training part at the best epoch; None if the trial did not complete, its trainer does not measure
    them, or `training.keep_weights` is 0."""
    learning_curve: Sequence[Epoch] = ()
    loss: Mapping[str, object] | None = None
    """The training loss with all its settings; `val_loss` is always the loss of the task."""
    predictions: KeptPredictions | None = None
    """The file with the logits of the best epoch, with checksum, epoch and windows; read it with
    `scalecore.api.predictions.trial_predictions`."""
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
    def retrained(self) -> bool:
        """True if the trial was trained after the search and does not belong to it."""
        return self.number >= FIRST_RETRAINED

    @property
    def collapsed(self) -> bool:
        """True if the model predicts a constant (guard G09)."""
        return _flagged(self.flags, "collapsed")

    @property
    def unsupported(self) -> bool:
        """True if its value is a rate over too few windows (guard G19)."""
        return _flagged(self.flags, "small_denominator")


@frozen(kw_only=True)
class Progress:
    """The current progress of a running trial, passed to loggers about once a second."""

    number: int
    phase: str
    epoch: int
    epochs: int
    step: int
    steps_per_epoch: int
    trial_seconds: float
    study_seconds_left: float | None
    readings: Mapping[str, str]
    """Short texts for display: `{"memory": "1.2 of 20.4 GB", "temperature": "unavailable (no sensor)"}`."""


@frozen(kw_only=True)
class Note:
    """A note of the user on a study."""

    key: str
    """Identifies the note."""
    written: str
    """When it was written: ISO 8601, UTC."""
    text: str
    """Unescaped; it may have several lines."""


@frozen(kw_only=True)
class Retraining:
    """A run that trains given configurations instead of searching: confirmation, cross-budget, `scalecore evaluate`."""

    title: str
    total: int
    """Number of wanted trainings, with those finished earlier."""
    done: int = 0
    end: StudyEnd | None = None
    """How the run ended; `StudyView.end` is the end of the search."""


@frozen(kw_only=True)
class StudyView:
    """A read-only view of a study for loggers and analyses, sufficient to derive every file."""

    name: str
    folder: Path
    experiment: Mapping[str, Any]
    """The resolved experiment with all defaults, as plain JSON types."""
    plan: PlanReport
    """The plan: data, splits, baselines, architectures, forced trials, memory, versions."""
    total: int
    trials: Sequence[TrialRecord]
    """Finished trials of the search."""
    confirmations: Sequence[TrialRecord] = ()
    """Finished trials on fresh seeds, with the origin `replicate` or `transfer`. They have separate numbers."""
    finals: Sequence[TrialRecord] = ()
    """Finished trials with the origin `final`: trained by `scalecore evaluate`."""
    retraining: Retraining | None = None
    """What a run trains after the search; None during the search, and for analyses."""
    running: Sequence[int] = ()
    duplicates_avoided: int = 0
    end: StudyEnd | None = None
    end_reason: str | None = None
    degraded: Sequence[str] = ()
    """What was switched off during the study, for instance a logger that raised."""
    left_out: Mapping[int, str] = field(factory=dict)
    """Trials of an earlier grid or space that do not fit the current one, with the reason. They do not count, and are
    never the best."""

    id: str = ""
    """The permanent id of the study, independent of its folder, from the first line of the journal."""

    unfinished: Sequence[RestoredTrial] = ()
    """Proposed trials without a record yet, running or not. They have reports only if the study was read from its
    folder; loggers receive reports as events."""

    runs: bool = False
    """True if a process runs the study now, with or without a running trial."""

    notes: Sequence[Note] = ()
    """The user's notes in the order in which they were written. Only a study that was read from its folder has them."""

    leader: TrialRecord | None = None
    """The best trial, if already known: a run does not rank all trials at each end."""

    @property
    def state(self) -> str:
        """How the study ended; before the end `running`, or `interrupted` if no process runs it."""
        if self.end is not None:
            return str(self.end)
        return "running" if self.runs or self.running else "interrupted"

    @property
    def progress(self) -> tuple[int, int]:
        """Finished and wanted trials of the current run: of the search, or of a retraining."""
        if self.retraining is not None:
            return self.retraining.done, self.retraining.total
        return len(self.counted), self.total

    @property
    def counted(self) -> Sequence[TrialRecord]:
        """The trials that count towards the total."""
        if not self.left_out:
            return self.trials
        return [trial for trial in self.trials if trial.number not in self.left_out]

    @property
    def budget(self) -> str:
        """The budget as written in the file, or `none`; part of file names."""
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
        """The first of `best_first`: a collapsed or unsupported trial only if no healthy one exists."""
        if self.leader is not None:
            return self.leader
        return best_trial(self.counted, direction=self.direction)


def _flagged(flags: Sequence[Flag], *kinds: str) -> bool:
    return any(flag.kind in kinds for flag in flags)


def best_first(trials: Sequence[TrialRecord], *, direction: str) -> list[TrialRecord]:
    """Sort completed trials from best to worst; equal ones by number.

    All healthy trials come first, then those with a value over too few windows (guard G19), then collapsed ones (G09).
    """
    ranked = [trial for trial in trials if is_ranked(trial)]
    return sorted(ranked, key=lambda trial: rank(trial, direction=direction))


def is_ranked(trial: TrialRecord) -> bool:
    """Return True if `best_first` includes the trial."""
    return trial.state is TrialState.COMPLETED and trial.value is not None


def rank(trial: TrialRecord, *, direction: str) -> tuple[bool, bool, float, int]:
    """Return the sort key of `best_first` for a ranked trial."""
    value = trial.value or 0.0
    return trial.collapsed, trial.unsupported, value if direction == "minimize" else -value, trial.number


def best_trial(trials: Sequence[TrialRecord], *, direction: str) -> TrialRecord | None:
    """Return the first of `best_first`: a collapsed or unsupported trial only if no healthy one exists."""
    return next(iter(best_first(trials, direction=direction)), None)
