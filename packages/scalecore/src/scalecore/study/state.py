"""What a journal says: trials asked, attempts made, records of finished trials. Pure replay, used by every command."""

from __future__ import annotations

import gc
import hashlib
from bisect import insort
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from attrs import define, field, frozen

from scalecore.api.files import canonical_json
from scalecore.api.plan_report import PlanReport
from scalecore.api.space import Architecture
from scalecore.api.trials import (
    Origin,
    Outcome,
    Proposal,
    RestoredTrial,
    StudyEnd,
    TrialRecord,
    TrialState,
    is_ranked,
    rank,
)
from scalecore.study.device import StudyDevice, common_device, device_of_result
from scalecore.study.record import architecture_from, plan_of, proposal_from, record_from

__all__ = ["AskedTrial", "ImportedTrial", "StudyState", "replay"]


@define(kw_only=True)
class AskedTrial:
    """A trial that was asked for, with its attempts so far and, once it is finished, its record."""

    number: int
    proposal: Proposal
    hyperparameters: Mapping[str, Any]
    hash: str
    seed: int
    attempts: list[dict[str, Any]] = field(factory=list)
    record: TrialRecord | None = None

    @property
    def outcome(self) -> Outcome | None:
        if self.record is None:
            return None
        record = self.record
        return Outcome(state=record.state, value=record.value, reason=record.reason, flags=record.flags)


@frozen(kw_only=True)
class ImportedTrial:
    """A result from elsewhere that teaches the strategy. It is no trial of this study: it has no number in it, does not
    count, and is never its best.
    """

    source: str
    state: TrialState
    value: float
    architecture: Architecture
    hyperparameters: Mapping[str, Any]
    comparable: bool
    """Whether data, model, objective and training are proven to be those of the study."""
    flags: Sequence[Mapping[str, str]] = ()
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
    changes: list[dict[str, Any]] = field(factory=list)
    """Each change of the search, as it was journalled."""
    left_out: dict[int, str] = field(factory=dict)
    """Trials that lie outside of today's grid or space, with the reason: they do not count."""
    trials: dict[int, AskedTrial] = field(factory=dict)
    ended: list[dict[str, Any]] = field(factory=list)
    """Attempts that ended, in the order in which they did."""
    imported: dict[str, ImportedTrial] = field(factory=dict)
    """Results from elsewhere by the key of each observation, in the order in which they came."""
    hashes: dict[str, int] = field(factory=dict)
    duplicates_avoided: int = 0
    smoke: dict[str, Any] | None = None
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
    openings: list[dict[str, Any]] = field(factory=list)
    """Each time that test data was opened: by which command, when, for how many models."""
    measured: dict[str, dict[str, Any]] = field(factory=dict)
    """What a model reached on test data, by the hash of its training."""
    _records: list[TrialRecord] = field(factory=list)
    """Finished trials in the order of their numbers."""
    _ranked: list[TrialRecord] = field(factory=list)
    """Of these the completed ones, from the best on."""
    _by_loss: dict[Any, list[TrialRecord]] = field(factory=dict)
    """Finished trials by the validation loss of their best epoch."""
    _open: dict[int, AskedTrial] = field(factory=dict)
    """Trials without a record. A loop over all trials at each event would make a replay quadratic."""
    _asked: Counter[str] = field(factory=Counter)
    """How often each hash was asked for."""

    def apply(self, event: Mapping[str, Any]) -> None:
        """Take one event of the journal. Unknown events of a later version are passed over."""
        self.events += 1
        if not self.id:
            self.id = hashlib.sha256(canonical_json(event).encode()).hexdigest()[:16]
        match event["event"]:
            case "study":
                self.experiment = event["experiment"]
                self.plan = plan_of(event)
                self.model_files = event.get("model")
                self.model = self.model or self.model_files or event["experiment"]["model"]
            case "changed":
                self.changes.append(dict(event))
                self.left_out = {int(number): reason for number, reason in event["left_out"].items()}
                if any(change["key"] != "search.trials" for change in event["changes"]):
                    self.smoke = None  # the smallest and the largest shape may be others now
            case "imported":
                self.imported[event["key"]] = ImportedTrial(
                    source=event["source"],
                    state=TrialState(event["state"]),
                    value=event["value"],
                    architecture=architecture_from(event["architecture"]),
                    hyperparameters=event["hyperparameters"],
                    comparable=event["comparable"],
                    flags=event.get("flags", ()),
                )
            case "run_started":
                self._settle(event)
                self.versions, self.total, self.end = event["versions"], event["total"], None
                self.end_reason = None
            case "smoke":
                self.smoke = dict(event)
                self._settle(event)
            case "asked":
                trial = AskedTrial(
                    number=event["number"],
                    proposal=proposal_from(event["proposal"]),
                    hyperparameters=event["hyperparameters"],
                    hash=event["hash"],
                    seed=event["seed"],
                )
                self.trials[trial.number] = self._open[trial.number] = trial
                self._asked[trial.hash] += 1
                self.phase = event.get("phase")
                self.hashes.setdefault(trial.hash, trial.number)
            case "duplicate":
                self.duplicates_avoided += 1
            case "attempt_started":
                self.trials[event["number"]].attempts.append(dict(event))
            case "attempt_ended":
                attempt = self.trials[event["number"]].attempts[-1]
                attempt |= {"ended": dict(event)}
                self.ended.append(attempt)
            case "trial_finished":
                self._finish(self.trials[event["number"]], record_from(event["record"]))
            case "degraded":
                self.degraded.append(event["message"])
            case "test_opened":
                self.openings.append(dict(event))
            case "test_measured":
                self.measured[event["hash"]] = dict(event)
            case "explained":
                self.explained = dict(event["search"])
                self.phase = self.explained.get("phase")
            case "phase":
                self.phase = event["phase"]
            case "run_ended":
                self.end, self.end_reason = StudyEnd(event["end"]), event.get("reason")

    @property
    def device(self) -> StudyDevice | None:
        """The device of all trials; None before it is known.

        Of a study that did not journal it, that of most of its trials, else what its last smoke step found.
        """
        if self.settled is not None:
            return self.settled
        steps = (self.smoke or {}).get("results", {}).values()
        return common_device(self._records) or next(filter(None, map(device_of_result, steps)), None)

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
        """What a strategy is given when the study goes on; `reports` are the objectives of a trial by epoch."""
        return [
            RestoredTrial(number=number, proposal=trial.proposal, outcome=trial.outcome, reports=reports(trial))
            for number, trial in sorted(self.trials.items())
        ]

    def _settle(self, event: Mapping[str, Any]) -> None:
        if self.settled is None and event.get("device") is not None:
            self.settled = StudyDevice(**event["device"])

    @property
    def _direction(self) -> str:
        return str((self.experiment.get("objective") or {}).get("direction", "minimize"))

    def _finish(self, trial: AskedTrial, record: TrialRecord) -> None:
        if trial.record is not None:
            self._records.remove(trial.record)
            self._ranked = [record for record in self._ranked if record is not trial.record]
        trial.record = record
        self._open.pop(trial.number, None)
        insort(self._records, record, key=lambda one: one.number)
        self._by_loss.setdefault((record.best or {}).get("val_loss"), []).append(record)
        if is_ranked(record):
            insort(self._ranked, record, key=partial(rank, direction=self._direction))
        # What failed has no result: a strategy may propose it once more. A second failure is final.
        if record.state in (TrialState.FAILED, TrialState.TIMED_OUT) and self._asked[trial.hash] == 1:
            del self.hashes[trial.hash]


def replay(events: Iterable[Mapping[str, Any]]) -> StudyState:
    """The state after all events."""
    state = StudyState()
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
