"""The study loop: ask, admit, submit, watch, record, report. The only writer of the study's folder.

When a trial ends, the driver writes the journal line to the disk, then tells the strategy, then calls the loggers,
which write the derived files. If a process dies in between, replaying the journal restores the study.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from scalecore.api import formatting
from scalecore.api.clock import RunningClock
from scalecore.api.errors import ChangedFileError, RefusedError, ScalecoreError, StudyError
from scalecore.api.executor import Executor, SupportsStackDump
from scalecore.api.metrics import objective_value
from scalecore.api.trials import StudyEnd, TrialRecord, TrialState
from scalecore.execution.attempt_result import AttemptEnd
from scalecore.execution.local.containment import containment_text
from scalecore.monitoring.sleep import kept_awake
from scalecore.store.asked_trial import AskedTrial
from scalecore.store.disk import remove_tree
from scalecore.store.event_lines import event_of
from scalecore.store.events import AttemptEnded, TrialFinished
from scalecore.store.predictions import keep_predictions
from scalecore.store.retention import holds_room, remove_checkpoints
from scalecore.store.study_device import missing_device
from scalecore.study.attempt_end import why_again
from scalecore.study.build_record import build_record, unstarted_record
from scalecore.study.dispatch import Dispatcher, DoesNotFit
from scalecore.study.repeated_failures import refuse_alike_failures
from scalecore.study.running_trial import RunningTrial, left_running
from scalecore.study.session import Session
from scalecore.study.smoke import smoke_step
from scalecore.study.stop_requests import StopRequests
from scalecore.study.trial_progress import progress_of, seconds_per_step, speeds_of
from scalecore.study.trial_source import SearchTrials, TrialSource

TICK = 0.05
SLOW_TICK = 1.0
"""Seconds between progress messages, admissions of a waiting trial, and checks of the lock."""
ENDED = (StudyEnd.COMPLETED, StudyEnd.EXHAUSTED)
SETTLED = ("out_of_memory", "hung", "failed")
"""Ends without a result that another attempt from the same checkpoint would only repeat."""


class Driver:
    """One run of a study, from a locked folder and a replayed journal to the end of the run."""

    def __init__(
        self,
        session: Session,
        *,
        executor: Executor,
        requests: StopRequests,
        registry: Mapping[str, Any],
        source: TrialSource | None = None,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self.session = session
        self.source: TrialSource = SearchTrials(session) if source is None else source
        self.plan = session.plan
        self.state = session.state
        self.settings = session.plan.resolved.experiment.execution
        self.executor = executor
        self.requests = requests
        self.clock: Callable[[], float] = RunningClock() if clock is None else clock
        """For time limits of attempts: time in which the driver was suspended does not count (guard G47)."""
        self.dispatcher = Dispatcher(session, executor, registry=registry, clock=self.clock)
        self.slots = self.dispatcher.slots()
        self.running: list[RunningTrial] = []
        self.waiting: list[AskedTrial] = []
        """Trials without a running attempt: interrupted by an earlier run, to be retried, or not yet admitted."""
        self.end: StudyEnd | None = None
        self.end_reason: str | None = None
        self.refusal: RefusedError | None = None
        """Set if an attempt cannot use the study's device or code; raised after the others wrote their checkpoints."""
        self._speeds = speeds_of(self.plan, self.state.finished)
        self._exhausted = False
        """The source had nothing new; it is asked again after the next outcome."""
        self._paused = False
        self._memory_limit_reported = False
        self._started = time.monotonic()
        self._slow_due = 0.0
        self._admission_due = 0.0

    # --- the run ----------------------------------------------------------------------------------------------------

    def run(self) -> StudyEnd:
        """Run until the total is reached, the run is stopped, or nothing is left to try."""
        name, wanted = self.plan.resolved.experiment.name, self.settings.keep_awake
        with kept_awake(name, wanted=wanted, say=self.session.message):
            return self._run()

    def _run(self) -> StudyEnd:
        try:
            self.waiting = self.source.begin()
            for record in self.state.finished:
                if holds_room(self.session.folder, record.number):  # the driver died after journalling its end
                    self._clear(record)
            self.session.tell(lambda logger: logger.study_started(self.session.view()))
            for asked in list(self.waiting):
                self._adopt(asked)
            remove_tree(self.session.folder.compiled)  # left by a killed driver, or copied with the study
            smoke_step(
                self.session,
                executor=self.executor,
                threads=self.dispatcher.threads(),
                registry=self.dispatcher.registry,
                requests=self.requests,
            )
            self.slots = self.dispatcher.slots()  # by the device that was found
            self.session.runtime.monitors.start()
            while (end := self._over()) is None:
                self._tick()
                time.sleep(TICK)
            if self.refusal is not None:
                raise self.refusal
            self._refuse_no_result(end)
        except BaseException as error:
            self.executor.close()
            # A runner that lost the lock must not write: another one may own the journal by now.
            if self.session.lock.still_ours():
                remove_tree(self.session.folder.compiled)
                # On a full disk this fails too; the first error is the one to report.
                with suppress(OSError, StudyError):
                    known = isinstance(error, ScalecoreError)
                    self.session.close(StudyEnd.FAILED, str(error) if known else f"{type(error).__name__}: {error}")
            raise
        finally:
            self.session.runtime.monitors.close()
        self.executor.close()
        remove_tree(self.session.folder.compiled)
        self.session.close(end, self.end_reason)
        return end

    def _over(self) -> StudyEnd | None:
        if self.running:
            return None
        if self.end is not None:
            return self.end
        if self.waiting:
            return None
        if len(self.source.finished) >= self.source.total:
            return StudyEnd.COMPLETED
        return StudyEnd.EXHAUSTED if self._exhausted else None

    def _refuse_no_result(self, end: StudyEnd) -> None:
        """Raise `StudyError` if a study ran to its end without a completed trial: it has no best trial."""
        text = self.source.problem() if end in ENDED else None
        if text is not None:
            raise StudyError(text)

    def _tick(self) -> None:
        self.clock()  # read in every round, or the time between two rounds would not count
        self._handle_requests()
        if self.end is None:
            self._fill_slots()
        for running in self.running:
            self._follow(running)
        self._guard()
        self._collect()
        if time.monotonic() >= self._slow_due:
            self._slow_due = time.monotonic() + SLOW_TICK
            self._report_progress()
            for running in self.running:
                running.folder.trim_log()
            self.session.check_lock()
            self.session.take_notes()
        self.session.note_failures()

    # --- what earlier runs left -------------------------------------------------------------------------------------

    def _adopt(self, asked: AskedTrial) -> None:
        """Collect the last attempt of an interrupted trial; its result counts as if its driver had seen it.

        The driver may also have died after it journalled the end of the attempt and before it decided on the trial.
        """
        if not asked.attempts:
            return
        running, end = left_running(self.session.folder, asked)
        if asked.attempts[-1].ended is None:
            self._record_end(running, end, seconds=None if end.result is None else end.result.seconds)
        elif end.unread is not None:
            self.session.message("warning", f"trial {asked.number}: the attempt's result cannot be read: {end.unread}")
        if end.kind not in ("stopped", "interrupted") and (end.result is not None or end.kind in SETTLED):
            self.waiting.remove(asked)
            self._decide(running, end)

    # --- stopping ---------------------------------------------------------------------------------------------------

    def _handle_requests(self) -> None:
        self.requests.look()
        limit = self.settings.time_limit
        if self.end is None and self.requests.asked:
            self._end_run(StudyEnd.STOPPED, f"stopped by {self.requests.reason}")
        elif self.end is None and limit is not None and time.monotonic() - self._started > limit * 3600:
            self._end_run(StudyEnd.TIMED_OUT, f"the time limit of {limit:g} hours was reached")
        for running in self.running:
            if running.stopping is None or running.cut is not None:
                continue
            late = self.clock() - running.stopping > self.settings.stop_grace
            if self.requests.insisted or late:
                why = "a second request to stop" if self.requests.insisted else "no checkpoint within the grace time"
                self._kill(running, ("interrupted", f"killed after {why}"))

    def _end_run(self, end: StudyEnd, reason: str) -> None:
        self.end, self.end_reason = end, reason
        self.session.message("info", f"{reason}: writing checkpoints of running trials")
        for running in self.running:
            running.stopping = self.clock()
            self.executor.stop(running.handle, kill=False)

    def _kill(self, running: RunningTrial, cut: tuple[Any, str]) -> None:
        running.cut = cut
        self.executor.stop(running.handle, kill=True)

    # --- starting trials --------------------------------------------------------------------------------------------

    def _fill_slots(self) -> None:
        while len(self.running) < self.slots and not self.session.runtime.monitors.pausing:
            if time.monotonic() < self._admission_due:
                return
            if not self.waiting:
                if self.source.all_asked or self._exhausted:
                    return
                asked = self.source.next()
                if asked is None:
                    self._exhausted = True
                    return
                self.waiting.append(asked)
            if not self._start(self.waiting[0]):
                self._admission_due = time.monotonic() + (TICK if self.dispatcher.tracing else SLOW_TICK)
                return

    def _start(self, asked: AskedTrial) -> bool:
        """Start an attempt, or finish the trial if it can never fit; False if it has to wait."""
        try:
            running = self.dispatcher.start(asked)
        except DoesNotFit as error:
            self.waiting.remove(asked)
            state, predicted = TrialState.OUT_OF_MEMORY, error.demand.memory
            self._finish_trial(unstarted_record(self.plan, asked, state=state, reason=str(error), predicted=predicted))
            return True
        if running is None:
            return False
        self.waiting.remove(asked)
        # Add the latest readings: a short trial may end before a slow monitor samples again.
        for reading in self.session.runtime.monitors.latest:
            if reading.trial is None:
                running.summary.add(reading)
        running.pace.expected = seconds_per_step(self.plan, self._speeds, asked.proposal.architecture)
        self._set_running([*self.running, running])
        self.session.tell(lambda logger: logger.trial_started(asked.number, asked.proposal, self.session.view()))
        return True

    # --- while trials run -------------------------------------------------------------------------------------------

    def _follow(self, running: RunningTrial) -> None:
        running.look()
        self._report_memory_limit(running)
        self._pass_epochs(running)
        progress = running.progress
        if progress is not None and (text := running.pace.look(progress, now=self.clock())):
            self.session.message("warning", f"trial {running.asked.number}: {text}")
        idle = self.clock() - running.changed
        if idle > self.settings.hang_after and running.cut is None:
            if isinstance(self.executor, SupportsStackDump):
                self.executor.take_stacks(running.handle)
            self._kill(running, ("hung", f"no step for {idle:.0f} s (execution.hang_after) [G45]"))

    def _report_memory_limit(self, running: RunningTrial) -> None:
        """Report once per run how the memory of attempts is limited here."""
        if self._memory_limit_reported or running.progress is None:
            return
        self._memory_limit_reported = True
        process = running.folder.read_process()
        found = containment_text((process and process.contained) or ())
        self.session.message("info", f"memory limit per attempt: {found}")

    def _pass_epochs(self, running: RunningTrial) -> None:
        """Pass new lines of the learning curve to the loggers and to the strategy, which may prune."""
        number, objective = running.asked.number, self.plan.resolved.experiment.objective
        metric = objective.metric
        for line in running.new_epochs():
            self.session.tell(lambda logger, line=line: logger.epoch(number, line))  # type: ignore[misc]
            value = objective_value(line, metric=metric, direction=objective.direction)
            epoch = int(line["epoch"])
            if value is None or running.prune_reason is not None or running.stopping is not None:
                continue
            if self.source.should_prune(number, epoch=epoch, value=value):
                running.prune_reason = (
                    f"pruned by the strategy after epoch {epoch} at {metric} {formatting.number(value)}"
                )
                running.folder.tell("prune")

    def _guard(self) -> None:
        """Evaluate the monitors and carry out their verdicts."""
        monitors = self.session.runtime.monitors
        processes = {r.asked.number: r.pid for r in self.running if r.pid is not None}
        verdicts = monitors.tick(processes, {r.asked.number: r.summary for r in self.running})
        monitors.write(self.session.folder)
        for verdict in verdicts:
            reason = f"{verdict.reason} [{verdict.guard}]" if verdict.guard else str(verdict.reason)
            if verdict.action == "stop_study" and self.end is None:
                self._end_run(StudyEnd.STOPPED, reason)
            elif verdict.action == "stop_trial":
                kind = "out_of_memory" if verdict.out_of_memory else "failed"
                for running in self.running:
                    if verdict.trial in (None, running.asked.number) and running.cut is None:
                        self._kill(running, (kind, f"stopped by a guard: {reason}"))
        if bool(monitors.pausing) != self._paused:
            self._paused = bool(monitors.pausing)
            level, text = ("warning", "; ".join(monitors.pausing.values())) if self._paused else ("info", "resumed")
            self.session.message(level, text)
            for running in self.running:
                if running.stopping is None and running.prune_reason is None:
                    running.folder.tell("pause" if self._paused else "go_on")

    def _report_progress(self) -> None:
        for progress in progress_of(
            self.plan,
            self.source.finished,
            self.running,
            earlier=self.state.records,
            total=self.source.total,
            slots=self.slots,
            readings=self.session.runtime.monitors.texts(),
        ):
            self.session.tell(lambda logger, progress=progress: logger.progress(progress))  # type: ignore[misc]

    # --- when attempts end ------------------------------------------------------------------------------------------

    def _collect(self) -> None:
        """Collect the attempts that have ended."""
        statuses = self.executor.poll([running.handle for running in self.running])
        for running, status in zip(list(self.running), statuses, strict=True):
            running.pid = status.pid
            if status.state == "running":
                if status.suspended:
                    running.changed = self.clock()  # suspended, not hanging (guard G47)
                continue
            self._set_running([other for other in self.running if other is not running])
            running.folder.trim_log()
            running.look()
            self._pass_epochs(running)
            end = running.end(status)
            self._record_end(running, end, seconds=time.monotonic() - running.started)
            self._decide(running, end)
            if end.result is None and self.end is None:
                running.folder.raise_disk_error(status)
            if end.device_is_missing and self.end is None:
                self.refusal = missing_device(str(end.reason), self.state.device)
                self._end_run(StudyEnd.STOPPED, str(end.reason))
            elif end.changed_file and self.end is None:
                self.refusal = ChangedFileError(str(end.reason))
                self._end_run(StudyEnd.STOPPED, str(end.reason))

    def _record_end(self, running: RunningTrial, end: AttemptEnd, *, seconds: float | None) -> None:
        content = {"number": running.asked.number, "index": running.index, "seconds": seconds, **end.plain()}
        self.session.record(event_of(AttemptEnded, **content))

    def _decide(self, running: RunningTrial, end: AttemptEnd) -> None:
        """Finish the trial, queue it for another attempt, or leave it to a later run."""
        asked, result = running.asked, end.result
        again = why_again(
            end,
            ends=[attempt.ended.end for attempt in asked.attempts if attempt.ended is not None],
            retry=self.settings.retry,
            ways=self.dispatcher.ways(asked),
            stopping=self.end is not None,
        )
        if again is None:
            found = None if result is None else result.predictions
            kept = keep_predictions(self.session.folder, running.folder, number=asked.number, found=found)
            alike = self.state.alike(None if result is None or result.best is None else result.best.val_loss)
            if asked.proposal.origin.kind == "final":  # with the seed of its trial, its loss is the same
                alike = ()
            self._finish_trial(build_record(self.plan, running, end, predictions=kept, earlier=alike))
        elif self.end is None:
            self.session.message("warning", f"trial {asked.number}: {again}")
            self.waiting.insert(0, asked)

    def _finish_trial(self, record: TrialRecord) -> None:
        """Write the journal first, then tell the strategy, then the loggers."""
        self.session.record(TrialFinished(number=record.number, record=record))
        self._speeds.add(record)
        self.source.tell(record)
        self._exhausted = False
        self.session.tell(lambda logger: logger.trial_finished(record, self.session.view()))
        self._clear(record)
        refuse_alike_failures(self.state.finished, record)

    def _clear(self, record: TrialRecord) -> None:
        """Delete files that only an unfinished trial needs (guard G44)."""
        remove_checkpoints(self.session.folder, record.number)
        self.source.settle_weights(record)

    def _set_running(self, running: list[RunningTrial]) -> None:
        self.running = running
        self.session.running = [one.asked.number for one in running]
