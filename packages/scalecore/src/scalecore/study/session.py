"""Shared state of one run: plan, runtime, journal and study state; the only place that changes the state."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TypeVar

from attrs import evolve

from scalecore.api.errors import ScalecoreError, StudyError
from scalecore.api.escaping import masked, message_of, printable
from scalecore.api.logger import Logger, LoggerContext
from scalecore.api.strategy import SearchStrategy, SupportsPhase
from scalecore.api.trials import Retraining, StudyEnd, StudyView
from scalecore.planning.explain import strategy_plain
from scalecore.planning.plan import Plan
from scalecore.planning.runtime import Runtime, new_strategy
from scalecore.store.event_lines import event_of
from scalecore.store.events import Degraded, Event, PhaseChanged, RunEnded, SearchExplained
from scalecore.store.journal import Journal
from scalecore.store.layout import StudyFolder
from scalecore.store.lock import StudyLock
from scalecore.store.notes import journal_notes
from scalecore.store.state import StudyState
from scalecore.study.loggers import StudyLoggers

Result = TypeVar("Result")


class Session:
    """One run of a study in a locked folder. An event goes to the journal first, then into the state."""

    def __init__(
        self,
        plan: Plan,
        runtime: Runtime,
        *,
        folder: StudyFolder,
        lock: StudyLock,
        journal: Journal,
        state: StudyState,
        strategy: SearchStrategy | None = None,
        loggers: StudyLoggers | None = None,
        retraining: Retraining | None = None,
        keep_weights: bool = False,
    ) -> None:
        """`strategy` and `loggers` replace those of the plan.

        A run with `retraining` trains trials after the search, without a strategy. With `keep_weights`, every attempt
        keeps the weights of its best epoch, whatever the file says.
        """
        self.plan = plan
        self.runtime = runtime
        self.folder = folder
        self.lock = lock
        self.journal = journal
        self.state = state
        self.strategy = new_strategy(plan) if strategy is None and retraining is None else strategy
        self.retraining = retraining
        self.keep_weights = keep_weights
        self.running: list[int] = []
        """Numbers of the trials that are running."""
        self._loggers = loggers or StudyLoggers(plan.resolved.loggers, LoggerContext(folder=folder.path))

    def record(self, event: Event) -> None:
        """Append an event to the journal and apply it to the state, which changes in no other way."""
        self.check_lock()
        for one in self.state.announced(event):
            self.state.apply(self.journal.append(one))

    def check_lock(self) -> None:
        """Raise `StudyError` if the lock file was deleted or replaced: another runner may be writing."""
        if not self.lock.still_ours():
            raise StudyError(
                f"{self.folder.lock} was deleted or replaced while the study ran: another runner may be writing, so "
                "this one ends; everything finished is kept"
            )

    def view(self, *, end: StudyEnd | None = None, reason: str | None = None) -> StudyView:
        """The study as loggers see it."""
        assert self.state.plan is not None  # the first event has it
        return StudyView(
            id=self.state.id,
            name=self.plan.resolved.experiment.name,
            folder=self.folder.path,
            experiment=self.plan.experiment,
            plan=self.state.plan,
            total=self.state.total,
            trials=tuple(self.state.records),
            confirmations=tuple(one for one in self.state.retrained if one.origin.kind != "final"),
            finals=tuple(one for one in self.state.retrained if one.origin.kind == "final"),
            retraining=self.retraining,
            running=tuple(self.running),
            duplicates_avoided=self.state.duplicates_avoided,
            left_out=dict(self.state.left_out),
            unfinished=tuple(self.state.restored_unfinished()),
            end=end,
            end_reason=reason,
            degraded=tuple(self.state.degraded),
            runs=True,
            leader=next(iter(self.state.ranked), None),
        )

    def tell(self, what: Callable[[Logger], None]) -> None:
        """Call `what` with every logger."""
        self._loggers.tell(what)

    def message(self, level: str, text: str) -> None:
        """Send a message for the user to the loggers."""
        self._loggers.tell(lambda logger: logger.message(level, text))

    def note_failures(self) -> None:
        """Report remarks of monitors and loggers; report and journal components that raised."""
        monitors, loggers = self.runtime.monitors.take_failures(), self._loggers.take_failures()
        for text in (*monitors, *self.runtime.monitors.take_remarks()):
            self.message("warning", text)
        self._pass_remarks()
        for text in (*monitors, *loggers):
            self.record(Degraded(message=text))

    def of_strategy(self, function: Callable[[SearchStrategy], Result]) -> Result:
        """Call the strategy; an exception ends the run as a `StudyError`."""
        assert self.strategy is not None, "only a search asks a strategy"
        try:
            return function(self.strategy)
        except ScalecoreError:
            raise
        except (Exception, SystemExit) as error:
            component, text = self.plan.resolved.search, masked(message_of(error))
            raise StudyError(
                f"strategy {component.record.name!r} ({component.provider} {component.version}) raised "
                f"{type(error).__name__}: {text}; everything finished is kept, and `scalecore run` resumes the study"
            ) from error

    def phase(self) -> str | None:
        """Return the strategy's phase for the next trial; None if it has no phases."""
        strategy = self.strategy
        return self.of_strategy(lambda _: strategy.phase()) if isinstance(strategy, SupportsPhase) else None

    def note_phase(self) -> None:
        """Journal the phase if it changed."""
        phase = self.phase()
        if phase is not None and phase != self.state.phase:
            self.record(PhaseChanged(phase=phase))

    def take_notes(self) -> None:
        """Journal the user's notes, which other processes leave in the study's folder."""
        for note in journal_notes(self.folder, self.state, self.record):
            self.message("info", f"note: {printable(note.text)}")

    def close(self, end: StudyEnd, reason: str | None) -> None:
        """Journal how the run ended, with the counts (guard G38); notify and close the loggers."""
        retraining = self.retraining
        counts = Counter(record.state for record in (self.state.retrained if retraining else self.state.records))
        self.note_failures()
        self.take_notes()
        try:
            explained = None if self.strategy is None else strategy_plain(self.strategy, self.state)
        except (Exception, SystemExit) as error:
            explained = None
            self.message("warning", f"explain() of the strategy raised {type(error).__name__}: {error}")
        if explained is not None:
            self.record(event_of(SearchExplained, search=explained))
        ended = RunEnded(
            end=end,
            reason=reason,
            counts={str(state): count for state, count in counts.items()},
            total=self.state.total if retraining is None else retraining.total,
            retrains=None if retraining is None else retraining.title,
        )
        self.record(ended)
        if retraining is not None:
            self.retraining = evolve(retraining, end=end)
            view = self.view(end=self.state.end, reason=self.state.end_reason)
        else:
            view = self.view(end=end, reason=reason)
        self.tell(lambda logger: logger.study_finished(view))
        self._pass_remarks()
        self._loggers.close()
        for text in self._loggers.take_failures():
            self.record(Degraded(message=text))
        if self._loggers.unwritten and end is not StudyEnd.FAILED:  # a part of the results is missing (guard G48)
            what = "; ".join(self._loggers.unwritten)
            text = (
                f"{what}; every trial is in the journal: free disk space, then `scalecore run` writes the missing files"
            )
            self.record(evolve(ended, end=StudyEnd.FAILED, reason=text))
            raise StudyError(text)

    def _pass_remarks(self) -> None:
        for level, text in self._loggers.take_remarks():
            self.message(level, text)
