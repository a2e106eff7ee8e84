"""What a journal says: trials asked, attempts made, records of finished trials. Pure replay, used by every command."""

from __future__ import annotations

import gc
from bisect import bisect, insort
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import define, field

from scalecore.api.plan_report import PlanReport
from scalecore.api.space import Value
from scalecore.api.trials import Outcome, Proposal, RestoredTrial, StudyEnd, TrialRecord, TrialState, is_ranked, rank
from scalecore.store.events import (
    AskedFor,
    AttemptEnded,
    AttemptStarted,
    Degraded,
    DuplicateAvoided,
    Event,
    ImportedTrial,
    MeasuredOnTestData,
    OpenedTestData,
    PhaseChanged,
    Repaired,
    RunEnded,
    RunStarted,
    SearchChanged,
    SearchExplained,
    SmokeStep,
    StudyBegun,
    TrialFinished,
)
from scalecore.store.journal import damaged, read_journal
from scalecore.store.study_device import StudyDevice, common_device, device_named


@define(kw_only=True)
class Attempt:
    """One attempt at a trial; `ended` is None while it runs, and after a driver that was killed with it."""

    started: AttemptStarted
    ended: AttemptEnded | None = None


@define(kw_only=True)
class AskedTrial:
    """A trial that was asked for, with its attempts so far and, once it is finished, its record."""

    number: int
    proposal: Proposal
    hyperparameters: Mapping[str, Value]
    hash: str
    seed: int
    attempts: list[Attempt] = field(factory=list)
    record: TrialRecord | None = None

    @property
    def outcome(self) -> Outcome | None:
        if self.record is None:
            return None
        record = self.record
        return Outcome(state=record.state, value=record.value, reason=record.reason, flags=record.flags)


@define(kw_only=True)
class StudyState:
    """The study as the journal has it."""

    id: str = ""
    """The first event as a hash: it holds the time to the millisecond, who began it and what."""
    events: int = 0
    """Lines of the journal that were taken."""
    experiment: Mapping[str, Any] = field(factory=dict)
    plan: PlanReport | None = None
    versions: Mapping[str, str] = field(factory=dict)
    total: int = 0
    model: Mapping[str, Any] = field(factory=dict)
    """The model as the study began with it. Its grid may change later; what identifies a trial may not."""
    model_files: Mapping[str, Any] | None = None
    """The model as it was run last, its files by their content; None where it names none, and in studies of 0.1."""
    changes: list[SearchChanged] = field(factory=list)
    """Each change of the search, as it was journalled."""
    left_out: dict[int, str] = field(factory=dict)
    """Trials that lie outside of today's grid or space, with the reason: they do not count."""
    trials: dict[int, AskedTrial] = field(factory=dict)
    ended: list[Attempt] = field(factory=list)
    """Attempts that ended, in the order in which they did."""
    imported: dict[str, ImportedTrial] = field(factory=dict)
    """Results from elsewhere by the key of each observation, in the order in which they came."""
    hashes: dict[str, int] = field(factory=dict)
    duplicates_avoided: int = 0
    smoke: SmokeStep | None = None
    settled: StudyDevice | None = None
    """The device as the journal first has it: the first smoke step found it, or a run continued an older study."""
    end: StudyEnd | None = None
    """How the last run ended; None while one is going on, or after one that was killed."""
    end_reason: str | None = None
    explained: dict[str, Any] | None = None
    phase: str | None = None
    """Of the next trial, as the strategy said last; None where it does not say, or an earlier version ran."""
    """What the strategy told of itself when the last run ended."""
    degraded: list[str] = field(factory=list)
    openings: list[OpenedTestData] = field(factory=list)
    """Each time that test data was opened: by which command, when, for how many models."""
    measured: dict[str, MeasuredOnTestData] = field(factory=dict)
    """What a model reached on test data, by the hash of its training."""
    _records: list[TrialRecord] = field(factory=list)
    """Finished trials in the order of their numbers."""
    _ranked: list[TrialRecord] = field(factory=list)
    """Of these the completed ones, from the best on."""
    _ranks: list[tuple[bool, bool, float, int]] = field(factory=list)
    """By what these are sorted."""
    _by_loss: dict[Any, list[TrialRecord]] = field(factory=dict)
    """Finished trials by the validation loss of their best epoch."""
    _open: dict[int, AskedTrial] = field(factory=dict)
    """Trials without a record. A loop over all trials at each event would make a replay quadratic."""
    _asked: Counter[str] = field(factory=Counter)
    """How often each hash was asked for."""

    def apply(self, event: Event) -> None:
        """Take one event of the journal.

        Raises `ValueError`, and changes nothing, where it does not follow from the events before it.
        """
        match event:
            case AskedFor():
                self._ask(event)
            case AttemptStarted():
                self._start(event)
            case AttemptEnded():
                attempt = self._last_attempt(event)
                attempt.ended = event
                self.ended.append(attempt)
            case TrialFinished():
                self._finish(event)
            case StudyBegun():
                self.id = self.id or event.id
                self.experiment, self.plan, self.model_files = event.experiment, event.plan, event.model
                self.model = self.model or event.model or _mapping(event.experiment["model"])
            case SearchChanged():
                self.left_out = {self._trial(int(number)).number: why for number, why in event.left_out.items()}
                self.changes.append(event)
                if any(change.key != "search.trials" for change in event.changes):
                    self.smoke = None  # the smallest and the largest shape may be others now
            case ImportedTrial():
                self.imported[event.key] = event
            case RunStarted():
                self._settle(event.device)
                self.versions, self.total, self.end = event.versions, event.total, None
                self.end_reason = None
            case SmokeStep():
                self.smoke = event
                self._settle(event.device)
            case DuplicateAvoided():
                self._trial(event.duplicate_of)
                self.duplicates_avoided += 1
            case Degraded():
                self.degraded.append(event.message)
            case OpenedTestData():
                self.openings.append(event)
            case MeasuredOnTestData():
                self.measured[event.hash] = event
            case SearchExplained():
                self.explained, self.phase = event.search.plain(), event.search.phase
            case PhaseChanged():
                self.phase = event.phase
            case RunEnded():
                self.end, self.end_reason = event.end, event.reason
            case Repaired():
                pass
            case _:
                raise TypeError(f"expected an event of the journal, got {event!r}")
        self.events += 1

    @property
    def device(self) -> StudyDevice | None:
        """The device of all trials; None before it is known.

        Of a study that did not journal it, that of most of its trials, else what its last smoke step found.
        """
        if self.settled is not None:
            return self.settled
        steps = () if self.smoke is None else self.smoke.results.values()
        found = (device_named(step.device, step.gpu) for step in steps)
        return common_device(self._records) or next(filter(None, found), None)

    def device_needed(self, total: int) -> StudyDevice | None:
        """`device` where some of `total` trials are left to run."""
        return None if self.is_complete(total) else self.device

    def is_complete(self, total: int) -> bool:
        """Whether none of `total` trials is left to run."""
        return not self._open and len(self.counted) >= total

    @property
    def records(self) -> Sequence[TrialRecord]:
        """Finished trials in the order of their numbers."""
        return self._records

    @property
    def counted(self) -> Sequence[TrialRecord]:
        """Finished trials that count towards the total: those that fit today's grid and space."""
        if not self.left_out:
            return self._records
        return [record for record in self._records if record.number not in self.left_out]

    @property
    def ranked(self) -> Sequence[TrialRecord]:
        """Completed trials that count, as `best_first` sorts them."""
        if not self.left_out:
            return self._ranked
        return [record for record in self._ranked if record.number not in self.left_out]

    def alike(self, loss: float | None) -> Sequence[TrialRecord]:
        """Finished trials whose best epoch had this very validation loss."""
        return self._by_loss.get(loss, ())

    @property
    def unfinished(self) -> list[AskedTrial]:
        return [trial for _, trial in sorted(self._open.items())]

    def restored_unfinished(self) -> list[RestoredTrial]:
        """Trials without a record, without what they reported."""
        return [RestoredTrial(number=one.number, proposal=one.proposal, outcome=None) for one in self.unfinished]

    def restored(self, reports: Callable[[AskedTrial], Mapping[int, float]]) -> list[RestoredTrial]:
        """What a strategy is given when the study continues; `reports` are the objectives of a trial by epoch."""
        return [
            RestoredTrial(number=number, proposal=trial.proposal, outcome=trial.outcome, reports=reports(trial))
            for number, trial in sorted(self.trials.items())
        ]

    def _trial(self, number: int) -> AskedTrial:
        found = self.trials.get(number)
        if found is None:
            raise ValueError(f"trial {number} was never asked for")
        return found

    def _unfinished(self, event: AttemptStarted | AttemptEnded) -> AskedTrial:
        found = self._trial(event.number)
        if found.record is not None:
            raise ValueError(f"attempt {event.index} of trial {event.number} is of a trial that is finished")
        return found

    def _ask(self, event: AskedFor) -> None:
        if event.number != len(self.trials):
            raise ValueError(f"trial {event.number} was asked for, expected {len(self.trials)}")
        trial = AskedTrial(
            number=event.number,
            proposal=event.proposal,
            hyperparameters=event.hyperparameters,
            hash=event.hash,
            seed=event.seed,
        )
        self.trials[trial.number] = self._open[trial.number] = trial
        self._asked[trial.hash] += 1
        self.phase = event.phase
        self.hashes.setdefault(trial.hash, trial.number)

    def _start(self, event: AttemptStarted) -> None:
        trial = self._unfinished(event)
        if event.index != len(trial.attempts):
            raise ValueError(f"attempt {event.index} of trial {event.number} starts, expected {len(trial.attempts)}")
        trial.attempts.append(Attempt(started=event))

    def _last_attempt(self, event: AttemptEnded) -> Attempt:
        """The attempt that an event ends."""
        attempts = self._unfinished(event).attempts
        if event.index != len(attempts) - 1:
            raise ValueError(f"attempt {event.index} of trial {event.number} ended, and did not start last")
        if attempts[-1].ended is not None:
            raise ValueError(f"attempt {event.index} of trial {event.number} ended twice")
        return attempts[-1]

    def _settle(self, device: StudyDevice | None) -> None:
        self.settled = self.settled or device

    @property
    def _direction(self) -> str:
        return str((_mapping(self.experiment.get("objective"))).get("direction", "minimize"))

    def _finish(self, event: TrialFinished) -> None:
        trial, record = self._trial(event.number), event.record
        if record.number != event.number:
            raise ValueError(f"trial {event.number} finished with the record of trial {record.number}")
        if trial.record is not None:
            raise ValueError(f"trial {event.number} finished twice")
        trial.record = record
        self._open.pop(trial.number, None)
        insort(self._records, record, key=_number)
        self._by_loss.setdefault(None if record.best is None else record.best.val_loss, []).append(record)
        if is_ranked(record):
            place = rank(record, direction=self._direction)
            at = bisect(self._ranks, place)
            self._ranks.insert(at, place)
            self._ranked.insert(at, record)
        # What failed has no result: a strategy may propose it once more. A second failure is final.
        if record.state in (TrialState.FAILED, TrialState.TIMED_OUT) and self._asked[trial.hash] == 1:
            del self.hashes[trial.hash]


def _number(record: TrialRecord) -> int:
    return record.number


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def read_state(journal: Path) -> StudyState:
    """The state after all events of a journal; an empty one where there is no such file.

    Raises `StudyError` with file and line where it is damaged, and `RefusedError` where it has a later format.
    """
    if not journal.exists():
        return StudyState()
    state = StudyState()

    try:
        return replay(read_journal(journal), state)
    except ValueError as problem:
        raise damaged(journal, state.events, str(problem)) from None


def replay(events: Iterable[Event], state: StudyState | None = None) -> StudyState:
    """The state after all events."""
    state = StudyState() if state is None else state
    # Nothing of it can be collected, and looking through a growing heap takes as long as reading the journal.
    collecting = gc.isenabled()
    gc.disable()
    try:
        for event in events:
            state.apply(event)
    finally:
        if collecting:
            gc.enable()
    return state
