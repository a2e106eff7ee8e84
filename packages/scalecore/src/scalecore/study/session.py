"""What the parts of one run share: the plan, what lives, journal and state; and the only way to change the state."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TypeVar

from attrs import evolve

from scalecore.api.errors import ScalecoreError, StudyError
from scalecore.api.escaping import masked, message_of
from scalecore.api.logger import Logger, LoggerContext
from scalecore.api.strategy import SearchStrategy, SupportsPhase
from scalecore.api.trials import StudyEnd, StudyView
from scalecore.planning.explain import strategy_plain
from scalecore.planning.plan import Plan
from scalecore.planning.runtime import Runtime, new_strategy
from scalecore.store.event_lines import event_of
from scalecore.store.events import Degraded, Event, PhaseChanged, RunEnded, SearchExplained
from scalecore.store.journal import Journal
from scalecore.store.layout import StudyFolder
from scalecore.store.lock import StudyLock
from scalecore.store.state import StudyState
from scalecore.study.loggers import Outlets

Result = TypeVar("Result")


class Session:
    """One run of a study in a locked folder. Journal first, then the state, then everyone else."""

    def __init__(
        self,
        plan: Plan,
        runtime: Runtime,
        *,
        folder: StudyFolder,
        lock: StudyLock,
        journal: Journal,
        state: StudyState,
        verbosity: int = 0,
        strategy: SearchStrategy | None = None,
        loggers: Outlets | None = None,
        retrains: bool = False,
    ) -> None:
        """`strategy` and `loggers` instead of those that the plan names.

        `retrains` where trials of a finished search are trained again: all weights are kept, for the caller.
        """
        self.plan = plan
        self.runtime = runtime
        self.folder = folder
        self.lock = lock
        self.journal = journal
        self.state = state
        self.strategy: SearchStrategy = strategy if strategy is not None else new_strategy(plan)
        self.retrains = retrains
        self.running: list[int] = []
        """Numbers of the trials that are running."""
        context = LoggerContext(folder=folder.path, verbosity=verbosity)
        self._outlets = loggers or Outlets(plan.resolved.loggers, context)

    def record(self, event: Event) -> None:
        """Append to the journal and take the event into the state: the only way in which the state changes."""
        self.check_lock()
        self.state.apply(self.journal.append(event))

    def check_lock(self) -> None:
        """Raise `StudyError` when somebody deleted or replaced the lock file: another runner may write by now."""
        if not self.lock.still_ours():
            raise StudyError(
                f"{self.folder.lock} was deleted or replaced while the study ran: another runner may write, so this "
                "one ends; everything finished is kept"
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
        """Tell the loggers."""
        self._outlets.tell(what)

    def message(self, level: str, text: str) -> None:
        """Tell the loggers, and so the user, something in words."""
        self._outlets.tell(lambda logger: logger.message(level, text))

    def note_failures(self) -> None:
        """Say what monitors remark; say and journal which monitors raised and which loggers were switched off."""
        monitors, loggers = self.runtime.monitors.take_failures(), self._outlets.take_failures()
        for text in (*monitors, *self.runtime.monitors.take_remarks()):
            self.message("warning", text)
        self._pass_remarks()
        for text in (*monitors, *loggers):
            self.record(Degraded(message=text))

    def of_strategy(self, function: Callable[[SearchStrategy], Result]) -> Result:
        """Call the strategy; what it raises ends the run, with everything kept."""
        try:
            return function(self.strategy)
        except ScalecoreError:
            raise
        except (Exception, SystemExit) as error:
            component, said = self.plan.resolved.search, masked(message_of(error))
            raise StudyError(
                f"strategy {component.record.name!r} ({component.provider} {component.version}) raised "
                f"{type(error).__name__}: {said}; everything finished is kept, and `scalecore run` continues"
            ) from error

    def phase(self) -> str | None:
        """The phase of the next trial as the strategy says; None where it does not."""
        strategy = self.strategy
        return self.of_strategy(lambda _: strategy.phase()) if isinstance(strategy, SupportsPhase) else None

    def note_phase(self) -> None:
        """Journal the phase where it is another one than the last that is there."""
        phase = self.phase()
        if phase is not None and phase != self.state.phase:
            self.record(PhaseChanged(phase=phase))

    def close(self, end: StudyEnd, reason: str | None) -> None:
        """The journal says how the run ended, with the counts (guard G38); the loggers are told and closed."""
        counts = Counter(record.state for record in self.state.records)
        self.note_failures()
        try:
            told = strategy_plain(self.strategy, self.state)
        except (Exception, SystemExit) as error:
            told = None
            self.message("warning", f"the strategy cannot explain itself: {type(error).__name__}: {error}")
        if told is not None:
            self.record(event_of(SearchExplained, search=told))
        ended = RunEnded(
            end=end,
            reason=reason,
            counts={str(state): count for state, count in counts.items()},
            total=self.state.total,
        )
        self.record(ended)
        self.tell(lambda logger: logger.study_finished(self.view(end=end, reason=reason)))
        self._pass_remarks()
        self._outlets.close()
        for text in self._outlets.take_failures():
            self.record(Degraded(message=text))
        if self._outlets.unwritten and end is not StudyEnd.FAILED:  # a part of the results is missing (guard G48)
            what = "; ".join(self._outlets.unwritten)
            text = f"{what}; every trial is in the journal: make room, and `scalecore run` writes the rest"
            self.record(evolve(ended, end=StudyEnd.FAILED, reason=text))
            raise StudyError(text)

    def _pass_remarks(self) -> None:
        for level, text in self._outlets.take_remarks():
            self.message(level, text)
