"""The study loop: asks, admits, submits, follows, records, tells. The only writer of the study's folder.

Order for every trial that ends: journal line on the disk, then the strategy is told, then the loggers (who write the derived
files). Whatever dies in between, a replay of the journal finds the study as it was.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Mapping
from typing import Any

from scalecore.errors import ScalecoreError, StudyError
from scalecore.execution.folder import AttemptFolder, AttemptStatus
from scalecore.protocols import Executor, LoggerContext, SearchStrategy
from scalecore.study.attempts import AttemptEnd, RunningTrial, attempt_spec
from scalecore.study.control import StopRequests
from scalecore.study.estimate import seconds_left
from scalecore.study.identity import trial_content, trial_hash, trial_seed
from scalecore.study.journal import Journal
from scalecore.study.layout import StudyFolder
from scalecore.study.outcome import build_record, unstarted_record
from scalecore.study.outlets import Outlets
from scalecore.study.plan import Plan
from scalecore.study.smoke import smoke_steps
from scalecore.study.record import proposal_plain, record_plain
from scalecore.study.state import AskedTrial, StudyState
from scalecore.trials import Outcome, Progress, Proposal, StudyEnd, StudyView, TrialRecord, TrialState

__all__ = ["Driver"]

TICK = 0.05
PROGRESS_EVERY = 1.0
MAX_DUPLICATES = 200
"""Proposals in a row that were tried before, after which the strategy has nothing new to offer."""


class Driver:
    """One run of a study, from a locked folder and a replayed journal to its end."""

    def __init__(
        self,
        plan: Plan,
        *,
        folder: StudyFolder,
        journal: Journal,
        state: StudyState,
        executor: Executor,
        requests: StopRequests,
        registry: Mapping[str, Any],
        verbosity: int = 0,
    ) -> None:
        self.plan = plan
        self.settings = plan.resolved.experiment.execution
        self.folder = folder
        self.journal = journal
        self.state = state
        self.executor = executor
        self.requests = requests
        self.registry = dict(registry)
        self.outlets = Outlets(plan.resolved.loggers, LoggerContext(folder=folder.path, verbosity=verbosity))
        self.strategy: SearchStrategy = plan.strategy()
        self.running: list[RunningTrial] = []
        self.waiting: list[AskedTrial] = []
        """Asked, with no attempt going on: interrupted by an earlier run, to be retried, or not admitted yet."""
        self.micro_batches: dict[int, int] = {}
        self.end: StudyEnd | None = None
        self.end_reason: str | None = None
        self.exhausted = False
        self._paused = False
        self._started = time.monotonic()
        self._progress_due = 0.0
        self._admission_due = 0.0

    # --- the run ----------------------------------------------------------------------------------------------------

    def run(self) -> StudyEnd:
        """Until the total is reached, something ends the run, or nothing is left to try."""
        try:
            self.strategy.restore(self.state.restored())
            self.waiting = self.state.unfinished
            self.outlets.tell(lambda logger: logger.study_started(self.view()))
            for asked in list(self.waiting):
                self._adopt(asked)
            self._smoke()
            while not self._over():
                self._tick()
                time.sleep(TICK)
        except ScalecoreError:
            self.end, self.end_reason = StudyEnd.FAILED, "an error ended the run"
            raise
        except Exception as error:
            self.end, self.end_reason = StudyEnd.FAILED, f"{type(error).__name__}: {error}"
            raise
        finally:
            self._finish()
        return self.end

    def _adopt(self, asked: AskedTrial) -> None:
        """Take what the last attempt of an interrupted trial left: a result counts as if its driver had lived to see it."""
        if not asked.attempts or "ended" in asked.attempts[-1]:
            return
        last = asked.attempts[-1]
        running = RunningTrial(
            asked=asked,
            index=last["index"],
            folder=AttemptFolder(self.folder.attempt(asked.number, last["index"])),
            handle=None,
            micro_batch=last["micro_batch"],
            predicted_memory=last["predicted_memory"],
        )
        running.cut = ("interrupted", "the driver ended before the attempt did")
        end = running.end(AttemptStatus(state="lost"))
        seconds = (end.result or {}).get("seconds")
        self.record(
            "attempt_ended", {"number": asked.number, "index": running.index, "seconds": seconds, **end.plain()}
        )
        if end.kind not in ("interrupted", "stopped"):
            self.waiting.remove(asked)
            self._decide(running, end)

    def _smoke(self) -> None:
        """Once per study and version of the code, and only where something is left to run."""
        if len(self.state.records) >= self.state.total:
            return
        if self.state.smoke is not None and self.state.smoke["versions"] == dict(self.plan.versions):
            return
        self._message("info", "smoke step: one step on the smallest and the largest shape")
        results = smoke_steps(
            self.plan,
            folder=self.folder,
            executor=self.executor,
            threads=self.threads(),
            registry=self.registry,
            requests=self.requests,
        )
        if results is not None:
            self.record("smoke", {"versions": self.plan.versions, "results": results})

    def view(self, *, end: StudyEnd | None = None) -> StudyView:
        """The study as loggers see it."""
        return StudyView(
            name=self.plan.resolved.experiment.name,
            folder=self.folder.path,
            experiment=self.plan.experiment,
            plan=self.state.plan,
            total=self.state.total,
            trials=tuple(self.state.records),
            running=tuple(running.asked.number for running in self.running),
            duplicates_avoided=self.state.duplicates_avoided,
            end=end,
            degraded=tuple(self.state.degraded),
        )

    def record(self, event: str, content: Mapping[str, Any]) -> None:
        """Append to the journal and take the event into the state: the only way in which the state changes."""
        self.state.apply(self.journal.append(event, content))

    def _over(self) -> bool:
        if self.running:
            return False
        if self.end is not None:
            return True
        if len(self.state.records) >= self.state.total and not self.waiting:
            self.end = StudyEnd.COMPLETED
        elif self.exhausted and not self.waiting:
            self.end = StudyEnd.EXHAUSTED
        return self.end is not None

    def _tick(self) -> None:
        self._heed_requests()
        if self.end is None:
            self._fill_slots()
        for running in list(self.running):
            self._follow(running)
        self._guard()
        self._collect()
        self._say_progress()
        self._pass_on_failures()

    def _finish(self) -> None:
        """Whatever happened: nothing is left running, the journal says how it ended, the loggers are closed."""
        self.executor.close()
        end = self.end or StudyEnd.FAILED
        counts: dict[str, int] = {}
        for record in self.state.records:
            counts[record.state] = counts.get(record.state, 0) + 1
        self.end = end
        self.running = []
        self.record("run_ended", {"end": end, "reason": self.end_reason, "counts": counts, "total": self.state.total})
        self.outlets.tell(lambda logger: logger.study_finished(self.view(end=end)))
        self.outlets.close()

    # --- stopping ---------------------------------------------------------------------------------------------------

    def _heed_requests(self) -> None:
        self.requests.look()
        limit = self.settings.time_limit
        if self.end is None and self.requests.asked:
            self._end_run(StudyEnd.STOPPED, f"stopped by {self.requests.reason}")
        elif self.end is None and limit is not None and time.monotonic() - self._started > limit * 3600:
            self._end_run(StudyEnd.TIMED_OUT, f"the time limit of {limit:g} hours was reached")
        now = time.monotonic()
        for running in self.running:
            if running.stopping is None:
                continue
            if self.requests.insisted or now - running.stopping > self.settings.stop_grace:
                why = "a second request to stop" if self.requests.insisted else "no checkpoint within the grace time"
                running.cut = ("interrupted", f"killed after {why}")
                self.executor.stop(running.handle, kill=True)

    def _end_run(self, end: StudyEnd, reason: str) -> None:
        self.end, self.end_reason = end, reason
        self._message("info", f"{reason}: writing checkpoints of running trials")
        for running in self.running:
            running.stopping = time.monotonic()
            self.executor.stop(running.handle, kill=False)

    # --- starting trials --------------------------------------------------------------------------------------------

    def _fill_slots(self) -> None:
        while len(self.running) < self.settings.slots and not self.plan.monitors.pausing:
            if time.monotonic() < self._admission_due:
                return
            asked = self.waiting[0] if self.waiting else self._ask()
            if asked is None:
                return
            if not self._start(asked):
                return

    def _ask(self) -> AskedTrial | None:
        """The next trial, journalled; None when the total is reached or the strategy has nothing new."""
        number = len(self.state.trials)
        if number >= self.state.total or self.exhausted:
            return None
        for _ in range(MAX_DUPLICATES):
            proposal = self._of_strategy(lambda: self.strategy.ask(number))
            if proposal is None:
                self.exhausted = not self.running
                return None
            values = {**self.plan.fixed, **proposal.hyperparameters}
            content = trial_content(
                self.plan.experiment,
                data=self.plan.data.fingerprint,
                architecture=proposal.architecture.values,
                hyperparameters=values,
            )
            seed = trial_seed(content, study_seed=self.plan.resolved.experiment.seed)
            identity = trial_hash(content, seed=seed)
            earlier = self.state.hashes.get(identity)
            if earlier is None:
                self._check_proposal(proposal)
                self.record(
                    "asked",
                    {
                        "number": number,
                        "hash": identity,
                        "seed": seed,
                        "proposal": proposal_plain(proposal),
                        "hyperparameters": values,
                    },
                )
                self.waiting.append(self.state.trials[number])
                return self.state.trials[number]
            self.record("duplicate", {"number": number, "duplicate_of": earlier, "proposal": proposal_plain(proposal)})
            outcome = self.state.trials[earlier].outcome or Outcome(state=TrialState.FAILED, reason="still running")
            self._of_strategy(lambda o=outcome, e=earlier: self.strategy.tell(number, _duplicate(o, e)))  # type: ignore[misc]
        self.exhausted = True
        self._message("warning", f"the strategy proposed {MAX_DUPLICATES} duplicates in a row: nothing new is left to try")
        return None

    def _check_proposal(self, proposal: Proposal) -> None:
        """A strategy that leaves the declared space is stopped before it costs anything."""
        space = self.plan.resolved.experiment.search.space
        known = {architecture.id for architecture in self.plan.grid.architectures}
        name = self.plan.resolved.search.record.name
        if proposal.architecture.id not in known:
            raise StudyError(f"strategy {name!r} proposed {proposal.architecture.id}, which is not feasible under the budget")
        if set(proposal.hyperparameters) != set(space):
            raise StudyError(
                f"strategy {name!r} proposed values for {sorted(proposal.hyperparameters)}, the space has {sorted(space)}"
            )
        for parameter, value in proposal.hyperparameters.items():
            if not space[parameter].contains(value):
                raise StudyError(f"strategy {name!r} proposed {parameter} = {value!r}, outside of {space[parameter]}")

    def _start(self, asked: AskedTrial) -> bool:
        """Admit and submit; False when it has to wait."""
        micro_batch = self.micro_batches.get(asked.number) or self._last_micro_batch(asked)
        while True:
            demand = self.plan.demand(asked.proposal.architecture, micro_batch)
            admission = self.plan.monitors.admit(demand)
            if admission.action == "admit":
                break
            if admission.action == "wait":
                self._admission_due = time.monotonic() + PROGRESS_EVERY
                self._message("info", f"trial {asked.number} waits: {admission.reason}")
                return False
            if micro_batch == 1:
                self.waiting.remove(asked)
                reason = f"does not fit even with a micro-batch of 1: {admission.reason}"
                self._finish_trial(
                    unstarted_record(
                        self.plan, asked, state=TrialState.OUT_OF_MEMORY, reason=reason, predicted=demand.memory
                    )
                )
                return True
            micro_batch //= 2
        self._submit(asked, micro_batch=micro_batch, predicted=demand.memory)
        return True

    def _last_micro_batch(self, asked: AskedTrial) -> int:
        if asked.attempts:
            return int(asked.attempts[-1]["micro_batch"])
        return self.plan.first_micro_batch()

    def _submit(self, asked: AskedTrial, *, micro_batch: int, predicted: int) -> None:
        index = len(asked.attempts)
        folder = AttemptFolder(self.folder.attempt(asked.number, index))
        earlier = [self.folder.attempt(asked.number, i) for i in reversed(range(index))]
        resume_from = [path for path in earlier if any(path.glob("checkpoint*.pt"))]
        if folder.path.exists():  # made by a driver that died before its journal line: nothing has run in it
            shutil.rmtree(folder.path)
        folder.create(
            attempt_spec(
                self.plan,
                mode="train",
                attempt=f"{asked.number}-{index}",
                number=asked.number,
                architecture=asked.proposal.architecture.values,
                num_parameters=asked.proposal.architecture.num_parameters,
                hyperparameters=asked.hyperparameters,
                seed=asked.seed,
                micro_batch=micro_batch,
                data=self.folder.data,
                threads=self.threads(),
                registry=self.registry,
                resume_from=resume_from,
            )
        )
        # In the journal before the process exists: an attempt that nobody knows of could write into a folder that is used again.
        self.record(
            "attempt_started",
            {
                "number": asked.number,
                "index": index,
                "micro_batch": micro_batch,
                "predicted_memory": predicted,
                "resumes": bool(resume_from),
            },
        )
        handle = self.executor.submit(folder.path)
        self.waiting.remove(asked)
        running = RunningTrial(
            asked=asked, index=index, folder=folder, handle=handle, micro_batch=micro_batch, predicted_memory=predicted
        )
        running.pid = self.executor.poll([handle])[0].pid
        self.running.append(running)
        self.outlets.tell(lambda logger: logger.trial_started(asked.number, asked.proposal, self.view()))

    def threads(self) -> int:
        """CPU threads of one attempt: the setting, or this process's cores divided among the slots."""
        setting = self.plan.resolved.experiment.training.threads
        if setting != "auto":
            return setting
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return max(1, cores // self.settings.slots)

    # --- while trials run -------------------------------------------------------------------------------------------

    def _follow(self, running: RunningTrial) -> None:
        running.look()
        for line in running.new_epochs():
            self.outlets.tell(lambda logger, e=line: logger.epoch(running.asked.number, e))  # type: ignore[misc]
            metric = self.plan.resolved.experiment.objective.metric
            value = line.get(metric)
            if value is None or running.prune_reason is not None or running.stopping is not None:
                continue
            number, epoch = running.asked.number, int(line["epoch"])
            if self._of_strategy(lambda v=value, e=epoch: self.strategy.should_prune(number, epoch=e, value=v)):  # type: ignore[misc]
                running.prune_reason = f"pruned by the strategy after epoch {epoch} at {metric} {value:.4f}"
                running.folder.tell("prune")
        idle = time.monotonic() - running.changed
        if idle > self.settings.hang_after and running.cut is None:
            running.cut = ("hung", f"no step for {idle:.0f} s (execution.hang_after) [G45]")
            self.executor.stop(running.handle, kill=True)

    def _guard(self) -> None:
        """Let the monitors look, and do what they say."""
        processes = {r.asked.number: r.pid for r in self.running if r.pid is not None}
        verdicts = self.plan.monitors.tick(processes, [r.summary for r in self.running])
        self.plan.monitors.write_csv(self.folder.hardware)
        for verdict in verdicts:
            tag = f" [{verdict.guard}]" if verdict.guard else ""
            if verdict.action == "stop_study" and self.end is None:
                self._end_run(StudyEnd.STOPPED, f"{verdict.reason}{tag}")
            elif verdict.action == "stop_trial":
                for running in self.running:
                    if verdict.trial in (None, running.asked.number) and running.cut is None:
                        running.cut = (
                            "out_of_memory" if verdict.out_of_memory else "failed",
                            f"stopped by a guard: {verdict.reason}{tag}",
                        )
                        self.executor.stop(running.handle, kill=True)
        pausing = self.plan.monitors.pausing
        if bool(pausing) != self._paused:
            self._paused = bool(pausing)
            self._message("warning" if pausing else "info", "; ".join(pausing.values()) or "going on after the pause")
            for running in self.running:
                if running.stopping is None and running.prune_reason is None:
                    running.folder.tell("pause" if pausing else "go_on")

    def _collect(self) -> None:
        """Take the attempts that are over."""
        statuses = self.executor.poll([running.handle for running in self.running])
        for running, status in zip(list(self.running), statuses, strict=True):
            if status.state == "running":
                continue
            self.running.remove(running)
            running.look()
            for line in running.new_epochs():
                self.outlets.tell(lambda logger, r=running, e=line: logger.epoch(r.asked.number, e))  # type: ignore[misc]
            end = running.end(status)
            self.record(
                "attempt_ended",
                {
                    "number": running.asked.number,
                    "index": running.index,
                    "seconds": time.monotonic() - running.started,
                    **end.plain(),
                },
            )
            self._decide(running, end)

    def _decide(self, running: RunningTrial, end: AttemptEnd) -> None:
        """Whether the trial is over, goes on in another attempt, or is left for a later run."""
        asked, retry = running.asked, self.settings.retry
        kinds = [str((attempt.get("ended") or {}).get("class")) for attempt in asked.attempts]
        if end.kind in ("stopped", "interrupted"):
            if self.end is None:
                self.waiting.insert(0, asked)  # somebody else stopped the attempt: it goes on
            return
        if end.kind in ("killed", "crashed") and self.end is not None:
            return  # it died while the study was being stopped; the next run continues it
        if end.kind in ("killed", "crashed") and kinds.count("killed") + kinds.count("crashed") <= retry.crash:
            self._message("warning", f"trial {asked.number}: {end.reason}; it goes on from its last checkpoint")
            self.waiting.insert(0, asked)
            return
        if end.kind == "out_of_memory" and running.micro_batch > 1 and kinds.count("out_of_memory") <= retry.out_of_memory:
            self.micro_batches[asked.number] = running.micro_batch // 2
            self._message(
                "warning", f"trial {asked.number}: {end.reason}; tried again with a micro-batch of {running.micro_batch // 2}"
            )
            if self.end is None:
                self.waiting.insert(0, asked)
            return
        self._finish_trial(build_record(self.plan, running, end))

    def _finish_trial(self, record: TrialRecord) -> None:
        """Journal first, then the strategy, then the loggers."""
        self.record("trial_finished", {"number": record.number, "record": record_plain(record)})
        outcome = Outcome(state=record.state, value=record.value, reason=record.reason)
        self._of_strategy(lambda: self.strategy.tell(record.number, outcome))
        self.outlets.tell(lambda logger: logger.trial_finished(record, self.view()))
        for path in self.folder.attempt(record.number, 0).parent.glob("attempt_*"):
            AttemptFolder(path).remove_checkpoints()
        self._check_first_trials(record)

    def _check_first_trials(self, record: TrialRecord) -> None:
        """Two failures of one kind and no success yet: the study is wrong, not the trials."""
        records = self.state.records
        failed = [r for r in records if r.state is TrialState.FAILED]
        if len(failed) < 2 or any(r.state in (TrialState.COMPLETED, TrialState.PRUNED) for r in records):
            return
        kinds = {(r.reason or "").split(":")[0] for r in failed[:2]}
        if record.state is TrialState.FAILED and len(kinds) == 1:
            tail = (record.attempts[-1].get("log_tail") or "").strip() if record.attempts else ""
            raise StudyError(
                f"the first trials fail in the same way: {record.reason}\n"
                f"(trials {failed[0].number} and {failed[1].number}; see {self.folder.attempt(record.number, 0) / 'log.txt'})"
                + (f"\n{tail}" if tail else "")
            )

    # --- telling ----------------------------------------------------------------------------------------------------

    def _say_progress(self) -> None:
        now = time.monotonic()
        if now < self._progress_due:
            return
        self._progress_due = now + PROGRESS_EVERY
        for running in self.running:
            seen = running.progress
            epochs = int(running.asked.hyperparameters["epochs"])
            effective = self.plan.resolved.experiment.training.effective_batch
            progress = Progress(
                number=running.asked.number,
                phase=str(seen.get("phase", "starting")),
                epoch=int(seen.get("epoch", 0)),
                epochs=epochs,
                step=int(seen.get("step", 0)),
                steps_per_epoch=-(-self.plan.data.parts["train"]["windows"] // effective),
                trial_seconds=now - running.started,
                study_seconds_left=seconds_left(
                    self.state.records,
                    total=self.state.total,
                    slots=self.settings.slots,
                    running=[(now - r.started, r.fraction_done()) for r in self.running],
                ),
                readings=self.plan.monitors.texts(),
            )
            self.outlets.tell(lambda logger, p=progress: logger.progress(p))  # type: ignore[misc]

    def _pass_on_failures(self) -> None:
        for message in self.plan.monitors.messages:
            self._message("warning", message)
        failures = [*self.plan.monitors.messages, *self.outlets.failures]
        self.plan.monitors.messages, self.outlets.failures = [], []
        for message in failures:
            self.record("degraded", {"message": message})

    def _message(self, level: str, text: str) -> None:
        self.outlets.tell(lambda logger: logger.message(level, text))

    def _of_strategy(self, function: Any) -> Any:
        """Call the strategy; what it raises ends the run, with everything kept."""
        try:
            return function()
        except ScalecoreError:
            raise
        except Exception as error:
            component = self.plan.resolved.search
            raise StudyError(
                f"strategy {component.record.name!r} ({component.provider} {component.version}) raised "
                f"{type(error).__name__}: {error}; everything finished is kept, and `scalecore run` continues"
            ) from error


def _duplicate(outcome: Outcome, of: int) -> Outcome:
    return Outcome(state=outcome.state, value=outcome.value, reason=outcome.reason, duplicate_of=of)
