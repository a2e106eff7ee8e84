"""Turns a trial into a running attempt: choose a micro-batch that fits, create the folder, journal, start."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from scalecore.api.executor import Executor
from scalecore.api.files import plain
from scalecore.api.memory_forecast import EndedAttempt, StepSize
from scalecore.api.readings import Admission, Demand, Device
from scalecore.api.record_parts import MemoryUse
from scalecore.config.kept import checked
from scalecore.execution.folder import AttemptFolder
from scalecore.execution.local.devices import find_gpus
from scalecore.planning.batch_plans import BatchPlan, Way, halvings, never_fits
from scalecore.planning.build_spec import attempt_spec
from scalecore.planning.quarantine import quarantined
from scalecore.planning.slots import cores, slots_of
from scalecore.store.asked_trial import AskedTrial, Attempt
from scalecore.store.events import AttemptStarted
from scalecore.store.study_device import kind_of
from scalecore.study.running_trial import RunningTrial
from scalecore.study.session import Session

SQUEEZE = 8
"""While other trials of the study run, a trial waits rather than start with less than this fraction of its micro-batch
(1/8): smaller micro-batches are slow."""


class DoesNotFit(Exception):
    """The trial cannot run here: refused at every micro-batch, in quarantine, or waited too long (guard G40)."""

    def __init__(self, reason: str, demand: Demand) -> None:
        super().__init__(reason)
        self.demand = demand


class Dispatcher:
    """Admits and submits trials for the driver."""

    def __init__(
        self, session: Session, executor: Executor, *, registry: Mapping[str, Any], clock: Callable[[], float]
    ) -> None:
        self._session = session
        self._plan = session.plan
        self._executor = executor
        self._clock = clock
        self._forecast = session.runtime.forecast
        self._learnt = 0
        """Number of ended attempts that the forecast has learned from."""
        self.registry = dict(registry)
        self.tracing = False
        """True while the last trial waits for its memory trace."""
        self._waiting_since: dict[int, float] = {}

    def threads(self) -> int:
        """CPU threads of one attempt: the setting, or the cores of this process divided by the slots."""
        setting = self._plan.resolved.experiment.training.threads
        if setting != "auto":
            return setting
        return max(1, cores() // self.slots())

    def slots(self) -> int:
        """Number of trials that run at the same time on the study's device."""
        return slots_of(self._plan.resolved.experiment, device=kind_of(self._session.state.device))

    def start(self, asked: AskedTrial) -> RunningTrial | None:
        """Submit an attempt with the largest micro-batch that the monitors admit; None if the trial has to wait.

        A trial that does not fit now first tries smaller micro-batches, then waits. Raises `DoesNotFit` if no
        micro-batch fits, if the shape is in quarantine, or if the trial waited too long while no other trial ran.
        """
        ways = self.ways(asked)
        first, waits, refusal = ways[0].micro_batch, None, ""
        last: BatchPlan | None = None
        self._learn()
        for way in ways:
            if way.checkpointing and waits is not None:
                break  # it will fit without recomputation, which is slower
            fit = self._fit(asked, way)
            if fit is None:
                return None
            if way.checkpointing and last is not None and not fit.prediction.blocks:
                break  # nothing to recompute
            last = fit
            admission = self._session.runtime.monitors.admit(fit.demand)
            if admission.action == "admit":
                records, shape = self._session.state.finished, asked.proposal.architecture.id
                if why := quarantined(records, shape, limit=_limit(fit, admission)):
                    raise DoesNotFit(why, fit.demand)
                self._report_way(asked, way, first=first, waits=waits, refusal=refusal)
                return self._submit(asked, fit, admission)
            if admission.action == "wait":
                waits = waits or str(admission.reason)
                if self._session.running and way.micro_batch * SQUEEZE <= first:
                    break
            refusal = str(admission.reason)
        assert last is not None
        if waits is None:
            raise DoesNotFit(never_fits(refusal, last), last.demand)
        self._wait(asked, waits, last.demand)
        return None

    def ways(self, asked: AskedTrial) -> list[Way]:
        """The ways in which the trial may continue, in order of preference."""
        return ways(asked.attempts, size=self._plan.step_size)

    def _fit(self, asked: AskedTrial, way: Way) -> BatchPlan | None:
        """Return the way with its predicted memory; None while the memory trace is running."""
        architecture, device = asked.proposal.architecture, self._device()
        prediction = self._forecast.predict(
            architecture, way.micro_batch, device=device, checkpointing=way.checkpointing, wait=0.0
        )
        self.tracing = prediction is None
        if prediction is None:
            return None
        demand = Demand(
            memory=prediction.bytes,
            micro_batch=way.micro_batch,
            trial=asked.number,
            device=device,
            running=frozenset(self._session.running),
            slots=self.slots(),
            measured=prediction.observations > 0,
            host_memory=self._forecast.host_memory(architecture.num_parameters) if device == "cuda" else None,
        )
        return BatchPlan(way=way, prediction=prediction, demand=demand)

    def _learn(self) -> None:
        """Pass the measurements of attempts that ended since the last call to the forecast."""
        ended = self._session.state.ended
        self._forecast.learn([one for one in map(measured_attempt, ended[self._learnt :]) if one is not None])
        self._learnt = len(ended)

    def _report_way(self, asked: AskedTrial, way: Way, *, first: int, waits: str | None, refusal: str) -> None:
        if way.checkpointing and refusal:
            text = f"trial {asked.number} recomputes activations in the backward pass, micro-batch {way.micro_batch}"
            self._session.message("info", f"{text}: {refusal}")
        elif waits is not None:
            text = f"trial {asked.number} starts with a micro-batch of {way.micro_batch}, not {first}: {waits}"
            self._session.message("info", text)

    def _wait(self, asked: AskedTrial, reason: str, demand: Demand) -> None:
        """Report a wait once, and limit it: only a wait for other trials of the study has no time limit."""
        if asked.number not in self._waiting_since:
            self._session.message("info", f"trial {asked.number} waits: {reason}")
        now = self._clock()
        since = self._waiting_since.setdefault(asked.number, now)
        limit = self._plan.resolved.experiment.execution.admission_wait
        if self._session.running or self._session.runtime.monitors.pausing:
            self._waiting_since[asked.number] = now
        elif limit is not None and now - since > limit:
            waited = f"gave up after waiting {now - since:.0f} s for memory (execution.admission_wait)"
            raise DoesNotFit(f"{waited}: {reason}", demand)

    def _device(self) -> Device:
        """The device of attempts, as the smoke step determined it: this process does not import torch."""
        return kind_of(self._session.state.device) or self._plan.likely_device

    def _submit(self, asked: AskedTrial, fit: BatchPlan, admission: Admission) -> RunningTrial:
        demand = fit.demand
        index = len(asked.attempts)
        study = self._session.folder
        folder = AttemptFolder(study.attempt(asked.number, index))
        earlier = [study.attempt(asked.number, i) for i in reversed(range(index))]
        resume_from = [path for path in earlier if AttemptFolder(path).has_checkpoint()]
        for path in earlier:
            if path not in resume_from:  # without a checkpoint its weights are useless, and the disk may be full
                AttemptFolder(path).remove_checkpoints(weights=True)
        folder.clear()  # left by a driver that died before its journal line: nothing has run in it
        folder.create(
            attempt_spec(
                self._plan,
                mode="train",
                attempt=f"{asked.number}-{index}",
                number=asked.number,
                architecture=asked.proposal.architecture.values,
                num_parameters=asked.proposal.architecture.num_parameters,
                flops=asked.proposal.architecture.flops,
                hyperparameters=asked.hyperparameters,
                seed=asked.seed,
                micro_batch=demand.micro_batch,
                data=study.data,
                threads=self.threads(),
                registry=self.registry,
                resume_from=resume_from,
                memory_limit=admission.limit,
                checkpointing=fit.way.checkpointing,
                device=kind_of(self._session.state.device),
                gpu=admission.gpu,
                gpu_limit=admission.gpu_limit,
                gpu_sharers=-(-self.slots() // max(1, len(find_gpus().names))) if demand.device == "cuda" else 1,
                compiled=study.compiled,
                keep_weights=True if self._session.keep_weights else None,
            )
        )
        # Journal before the process exists: an attempt that is not in the journal could write into a reused folder.
        self._session.record(
            AttemptStarted(
                number=asked.number,
                index=index,
                micro_batch=demand.micro_batch,
                activation_checkpointing=fit.way.checkpointing,
                predicted_memory=demand.memory,
                memory=checked(MemoryUse, plain(fit.prediction)),
                memory_limit=admission.limit,
                gpu=admission.gpu,
                gpu_limit=admission.gpu_limit,
                given=("gpu", "gpu_limit") if demand.device == "cuda" else None,
                resumes=bool(resume_from),
            )
        )
        return RunningTrial(
            asked=asked,
            index=index,
            folder=folder,
            handle=self._executor.submit(folder.path),
            micro_batch=demand.micro_batch,
            predicted_memory=demand.memory,
            memory_limit=_limit(fit, admission),
            checkpointing=fit.way.checkpointing,
            clock=self._clock,
        )


def measured_attempt(attempt: Attempt) -> EndedAttempt | None:
    """Return the predicted and the measured memory of an attempt; None if either is unknown."""
    predicted, ended = attempt.started.memory, attempt.ended
    if predicted is None or ended is None:
        return None
    memory = ended.memory
    halved = memory is not None and memory.micro_batch != attempt.started.micro_batch
    return EndedAttempt(
        predicted=predicted.plain(),
        peak=None if memory is None or halved else memory.peak,
        host_peak=ended.peak_memory,
        whole=ended.end in ("completed", "pruned"),
    )


def ways(attempts: Sequence[Attempt], *, size: StepSize) -> list[Way]:
    """Return the ways in which a trial may run after its `attempts`, in order of preference.

    A new trial starts with the micro-batch of `size`. An interrupted trial continues with the same or a smaller one. A
    trial that ran out of memory continues only with a smaller one, so its list may be empty.
    """
    checkpointing, sizes = size.checkpointing, halvings(size.micro_batch)
    found = [Way(micro_batch=size, checkpointing=checkpointing == "on") for size in sizes]
    if checkpointing == "auto":
        found += [Way(micro_batch=size, checkpointing=True) for size in sizes]
    if not attempts:
        return found
    started, ended = attempts[-1].started, attempts[-1].ended
    # A micro-batch that was halved within the attempt stays halved.
    halved = None if ended is None or ended.memory is None else ended.memory.micro_batch
    had = Way(micro_batch=halved or started.micro_batch, checkpointing=started.activation_checkpointing)
    smaller = [way for way in found if way.smaller_than(had)]
    if ended is None or ended.end != "out_of_memory":
        return [had, *smaller]
    blocks = None if started.memory is None else started.memory.blocks
    return [way for way in smaller if blocks or not way.checkpointing or had.checkpointing]


def _limit(fit: BatchPlan, admission: Admission) -> int | None:
    """Return the limit that applies to the predicted memory: on CUDA that of the GPU."""
    return admission.gpu_limit if fit.demand.device == "cuda" else admission.limit
