"""The state of a study, by a pure replay of its journal: trials, attempts, records. Every command uses it."""

from __future__ import annotations

import gc
from bisect import bisect, insort
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import define, field

from scalecore.api.plan_report import PlanReport
from scalecore.api.trials import (
    FIRST_RETRAINED,
    RestoredTrial,
    StudyEnd,
    TrialRecord,
    TrialState,
    is_ranked,
    rank,
)
from scalecore.store.asked_trial import AskedTrial, Attempt
from scalecore.store.events import (
    FIRST_FORMAT,
    AskedFor,
    AttemptEnded,
    AttemptStarted,
    Degraded,
    DuplicateAvoided,
    Event,
    ImportedTrial,
    MeasuredOnTestData,
    NoteAdded,
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
class StudyState:
    """The study according to the journal."""

    id: str = ""
    """Hash of the first event, which contains the experiment, the plan and the time to the millisecond."""
    events: int = 0
    """Number of journal lines applied."""
    format: int = FIRST_FORMAT
    """The highest format that a line `study` of the journal names."""
    experiment: Mapping[str, Any] = field(factory=dict)
    plan: PlanReport | None = None
    versions: Mapping[str, str] = field(factory=dict)
    total: int = 0
    model: Mapping[str, Any] = field(factory=dict)
    """The model at the start of the study. Its grid may change later; the parts that identify a trial may not."""
    model_files: Mapping[str, Any] | None = None
    """The model of the last run, with files identified by content; None if it names no files, and in studies of 0.1."""
    changes: list[SearchChanged] = field(factory=list)
    """All changes of the search."""
    left_out: dict[int, str] = field(factory=dict)
    """Trials outside the current grid or space, with the reason: they do not count."""
    trials: dict[int, AskedTrial] = field(factory=dict)
    """All trials by number: those of the search, and retrained ones from `FIRST_RETRAINED` on."""
    ended: list[Attempt] = field(factory=list)
    """Ended attempts, in the order in which they ended."""
    imported: dict[str, ImportedTrial] = field(factory=dict)
    """Results from elsewhere by the key of each observation, in the order of the import."""
    hashes: dict[str, int] = field(factory=dict)
    """Trials of the search by hash."""
    retrained_hashes: dict[str, int] = field(factory=dict)
    """Retrained trials by hash."""
    retraining: RunStarted | None = None
    """The last run that retrained trials."""
    retraining_ended: RunEnded | None = None
    """How that run ended; None during a run, or after a run that was killed."""
    retrained_now: list[TrialRecord] = field(factory=list)
    """The trials that finished since that run started."""
    duplicates_avoided: int = 0
    smoke: SmokeStep | None = None
    settled: StudyDevice | None = None
    """The device in the journal: set by the first smoke step, or by a run that continued an older study."""
    end: StudyEnd | None = None
    """How the last run ended; None during a run, or after a run that was killed."""
    end_reason: str | None = None
    explained: dict[str, Any] | None = None
    """The strategy's description of its search at the end of the last run."""
    phase: str | None = None
    """The strategy's phase for the next trial; None if it has no phases, or an earlier version ran."""
    degraded: list[str] = field(factory=list)
    notes: dict[str, NoteAdded] = field(factory=dict)
    """The user's notes by key, in the order of the journal."""
    openings: list[OpenedTestData] = field(factory=list)
    """Every opening of the test data: by which command, when, for how many models."""
    measured: dict[str, MeasuredOnTestData] = field(factory=dict)
    """Results of models on test data, by the hash of their training."""
    _records: list[TrialRecord] = field(factory=list)
    """Finished trials of the search, sorted by number."""
    _retrained: list[TrialRecord] = field(factory=list)
    """Finished retrained trials, sorted by number."""
    _asked_search: int = 0
    """Number of trials of the search."""
    _ranked: list[TrialRecord] = field(factory=list)
    """Completed trials of the search, best first."""
    _ranks: list[tuple[bool, bool, float, int]] = field(factory=list)
    """The sort keys of `_ranked`."""
    _by_loss: dict[Any, list[TrialRecord]] = field(factory=dict)
    """Finished trials by the validation loss of their best epoch."""
    _open: dict[int, AskedTrial] = field(factory=dict)
    """Trials without a record. A loop over all trials at each event would make a replay quadratic."""
    _asked: Counter[tuple[bool, str]] = field(factory=Counter)
    """Number of trials with each hash, retrained ones apart."""

    def apply(self, event: Event) -> None:
        """Apply one event of the journal.

        Raises `ValueError`, without changes, if the event contradicts the events before it.
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
                self.format = max(self.format, event.format or FIRST_FORMAT)
                self.experiment, self.plan, self.model_files = event.experiment, event.plan, event.model
                self.model = self.model or event.model or _mapping(event.experiment["model"])
            case SearchChanged():
                self.left_out = {self._trial(int(number)).number: why for number, why in event.left_out.items()}
                self.changes.append(event)
                if any(change.key != "search.trials" for change in event.changes):
                    self.smoke = None  # the smallest and the largest shape may have changed
            case ImportedTrial():
                self.imported[event.key] = event
            case RunStarted():
                self._settle(event.device)
                if event.retrains is not None:  # what is trained after the search leaves its end and its total alone
                    self.retraining, self.retraining_ended, self.retrained_now = event, None, []
                    self.events += 1
                    return
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
            case NoteAdded():
                self.notes[event.key] = event
            case OpenedTestData():
                self.openings.append(event)
            case MeasuredOnTestData():
                self.measured[event.hash] = event
            case SearchExplained():
                self.explained, self.phase = event.search.plain(), event.search.phase
            case PhaseChanged():
                self.phase = event.phase
            case RunEnded():
                if event.retrains is not None:
                    self.retraining_ended = event
                else:
                    self.end, self.end_reason = event.end, event.reason
            case Repaired():
                pass
            case _:
                raise TypeError(f"expected an event of the journal, got {event!r}")
        self.events += 1

    def announced(self, event: Event) -> tuple[Event, ...]:
        """Return the events to append for `event`: before the first one of a later format a line `study` that names it,
        so that an earlier version refuses the format rather than an unknown event.
        """
        if event.format_needed <= self.format or self.plan is None:
            return (event,)
        begun = StudyBegun(
            format=event.format_needed, experiment=self.experiment, plan=self.plan, model=self.model_files
        )
        return (begun, event)

    @property
    def device(self) -> StudyDevice | None:
        """The device of all trials; None before it is known.

        For a study without it in its journal: the device of most of its trials, else that of its last smoke step.
        """
        if self.settled is not None:
            return self.settled
        steps = () if self.smoke is None else self.smoke.results.values()
        found = (device_named(step.device, step.gpu) for step in steps)
        return common_device(self._records) or next(filter(None, found), None)

    def device_needed(self, total: int) -> StudyDevice | None:
        """Return `device` if some of `total` trials are left to run."""
        return None if self.is_complete(total) else self.device

    def is_complete(self, total: int) -> bool:
        """Whether none of `total` trials of the search is left to run."""
        return not self.unfinished and len(self.counted) >= total

    @property
    def records(self) -> Sequence[TrialRecord]:
        """Finished trials of the search, sorted by number."""
        return self._records

    @property
    def retrained(self) -> Sequence[TrialRecord]:
        """Finished retrained trials, sorted by number."""
        return self._retrained

    @property
    def finished(self) -> Sequence[TrialRecord]:
        """All finished trials, sorted by number."""
        return [*self._records, *self._retrained] if self._retrained else self._records

    @property
    def asked(self) -> int:
        """Number of trials of the search, finished or not, that count towards the total."""
        return self._asked_search - len(self.left_out)

    @property
    def counted(self) -> Sequence[TrialRecord]:
        """Finished trials that count towards the total: those inside the current grid and space."""
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
        """Return the finished trials whose best epoch had exactly this validation loss."""
        return self._by_loss.get(loss, ())

    @property
    def unfinished(self) -> list[AskedTrial]:
        """Trials of the search without a record."""
        return [trial for trial in self.open if not trial.retrained]

    @property
    def open(self) -> list[AskedTrial]:
        """All trials without a record."""
        return [trial for _, trial in sorted(self._open.items())]

    def next_number(self, *, retrained: bool) -> int:
        """Number of the next trial."""
        if retrained:
            return FIRST_RETRAINED + len(self.trials) - self._asked_search
        return self._asked_search

    def restored_unfinished(self) -> list[RestoredTrial]:
        """Return the trials without a record, without their reports."""
        return [RestoredTrial(number=one.number, proposal=one.proposal, outcome=None) for one in self.unfinished]

    def restored(self, reports: Callable[[AskedTrial], Mapping[int, float]]) -> list[RestoredTrial]:
        """Return the trials for a strategy that continues; `reports` returns the objectives of a trial by epoch."""
        return [
            RestoredTrial(number=number, proposal=trial.proposal, outcome=trial.outcome, reports=reports(trial))
            for number, trial in sorted(self.trials.items())
            if not trial.retrained
        ]

    def _trial(self, number: int) -> AskedTrial:
        found = self.trials.get(number)
        if found is None:
            raise ValueError(f"trial {number} was never asked for")
        return found

    def _unfinished(self, event: AttemptStarted | AttemptEnded) -> AskedTrial:
        found = self._trial(event.number)
        if found.record is not None:
            raise ValueError(f"attempt {event.index} of trial {event.number}: the trial is already finished")
        return found

    def _ask(self, event: AskedFor) -> None:
        retrained = event.number >= FIRST_RETRAINED
        expected = self.next_number(retrained=retrained)
        if event.number != expected:
            raise ValueError(f"trial {event.number} was asked for, expected trial {expected}")
        trial = AskedTrial(
            number=event.number,
            proposal=event.proposal,
            hyperparameters=event.hyperparameters,
            hash=event.hash,
            seed=event.seed,
        )
        self.trials[trial.number] = self._open[trial.number] = trial
        self._asked[retrained, trial.hash] += 1
        if not retrained:
            self._asked_search += 1
            self.phase = event.phase
            self.hashes.setdefault(trial.hash, trial.number)
        else:  # a training whose weights are needed again replaces the earlier one
            self.retrained_hashes[trial.hash] = trial.number

    def _start(self, event: AttemptStarted) -> None:
        trial = self._unfinished(event)
        if event.index != len(trial.attempts):
            raise ValueError(f"attempt {event.index} of trial {event.number} starts, expected {len(trial.attempts)}")
        trial.attempts.append(Attempt(started=event))

    def _last_attempt(self, event: AttemptEnded) -> Attempt:
        """Return the attempt that an event ends."""
        attempts = self._unfinished(event).attempts
        if event.index != len(attempts) - 1:
            raise ValueError(f"attempt {event.index} of trial {event.number} ended, but it is not the last one started")
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
        insort(self._retrained if trial.retrained else self._records, record, key=_number)
        if record.origin.kind != "final":  # with the seed of its trial, its loss is the same
            self._by_loss.setdefault(None if record.best is None else record.best.val_loss, []).append(record)
        if trial.retrained:
            self.retrained_now.append(record)
        elif is_ranked(record):
            place = rank(record, direction=self._direction)
            at = bisect(self._ranks, place)
            self._ranks.insert(at, place)
            self._ranked.insert(at, record)
        # A failed trial has no result, so it may be asked for again. After a second failure it is a duplicate.
        if record.state in (TrialState.FAILED, TrialState.TIMED_OUT) and self._asked[trial.retrained, trial.hash] == 1:
            del (self.retrained_hashes if trial.retrained else self.hashes)[trial.hash]


def _number(record: TrialRecord) -> int:
    return record.number


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def read_state(journal: Path) -> StudyState:
    """Return the state after all events of a journal; an empty state if the file does not exist.

    Raises `StudyError` with file and line if it is damaged, and `RefusedError` if it has a later format.
    """
    if not journal.exists():
        return StudyState()
    state = StudyState()

    try:
        return replay(read_journal(journal), state)
    except ValueError as problem:
        raise damaged(journal, state.events, str(problem)) from None


def replay(events: Iterable[Event], state: StudyState | None = None) -> StudyState:
    """Return the state after all events."""
    state = StudyState() if state is None else state
    # A replay creates no garbage, and scanning the growing heap takes as long as reading the journal.
    collecting = gc.isenabled()
    gc.disable()
    try:
        for event in events:
            state.apply(event)
    finally:
        if collecting:
            gc.enable()
    return state
