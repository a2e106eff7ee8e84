"""From a trial that was asked for to a running attempt: the micro-batch that fits, folder, journal line, start."""

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
from scalecore.store.events import AttemptStarted
from scalecore.store.state import AskedTrial, Attempt
from scalecore.store.study_device import kind_of
from scalecore.study.running_trial import RunningTrial
from scalecore.study.session import Session

SQUEEZE = 8
"""While other trials of the study run, a trial that could have more by waiting starts with no less than this part of
its micro-batch: smaller ones are slow."""


class DoesNotFit(Exception):
    """The trial cannot be run here: refused at every micro-batch, in quarantine, or waited too long (guard G40)."""

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
        """Ended attempts that the forecast knows."""
        self.registry = dict(registry)
        self.tracing = False
        """Whether the last trial was not started since its memory is still being found out: a matter of a moment."""
        self._waiting_since: dict[int, float] = {}

    def threads(self) -> int:
        """CPU threads of one attempt: the setting, or this process's cores divided among the slots."""
        setting = self._plan.resolved.experiment.training.threads
        if setting != "auto":
            return setting
        return max(1, cores() // self.slots())

    def slots(self) -> int:
        """How many trials run at a time on the device of the study."""
        return slots_of(self._plan.resolved.experiment, device=kind_of(self._session.state.device))

    def start(self, asked: AskedTrial) -> RunningTrial | None:
        """Submit an attempt with the largest micro-batch that the monitors admit; None when the trial has to wait.

        What does not fit now is tried with a smaller micro-batch first, then waits. Raises `DoesNotFit` when no
        micro-batch helps, when the shape is in quarantine, or when it waited too long while no other trial ran.
        """
        ways = self.ways(asked)
        first, waits, refusal = ways[0].micro_batch, None, ""
        last: BatchPlan | None = None
        self._learn()
        for way in ways:
            if way.checkpointing and waits is not None:
                break  # what will fit as it is shall not be slowed down
            fit = self._fit(asked, way)
            if fit is None:
                return None
            if way.checkpointing and last is not None and not fit.prediction.blocks:
                break  # nothing to recompute
            last = fit
            admission = self._session.runtime.monitors.admit(fit.demand)
            if admission.action == "admit":
                records, shape = self._session.state.records, asked.proposal.architecture.id
                if why := quarantined(records, shape, limit=_limit(fit, admission)):
                    raise DoesNotFit(why, fit.demand)
                self._say_way(asked, way, first=first, waits=waits, refusal=refusal)
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
        """In which ways the trial may be run from here on, in the order of preference."""
        return ways(asked.attempts, size=self._plan.step_size)

    def _fit(self, asked: AskedTrial, way: Way) -> BatchPlan | None:
        """The way with its predicted memory; None while that is being found out, without waiting for it."""
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
        """Give the forecast what attempts measured that ended since the last call."""
        ended = self._session.state.ended
        self._forecast.learn([one for one in map(measured_attempt, ended[self._learnt :]) if one is not None])
        self._learnt = len(ended)

    def _say_way(self, asked: AskedTrial, way: Way, *, first: int, waits: str | None, refusal: str) -> None:
        if way.checkpointing and refusal:
            text = f"trial {asked.number} recomputes activations in the backward pass, micro-batch {way.micro_batch}"
            self._session.message("info", f"{text}: {refusal}")
        elif waits is not None:
            text = f"trial {asked.number} starts with a micro-batch of {way.micro_batch}, not {first}: {waits}"
            self._session.message("info", text)

    def _wait(self, asked: AskedTrial, reason: str, demand: Demand) -> None:
        """Asked again every second, told once; only other trials of the study may be waited for without an end."""
        if asked.number not in self._waiting_since:
            self._session.message("info", f"trial {asked.number} waits: {reason}")
        now = self._clock()
        since = self._waiting_since.setdefault(asked.number, now)
        limit = self._plan.resolved.experiment.execution.admission_wait
        if self._session.running or self._session.runtime.monitors.pausing:
            self._waiting_since[asked.number] = now
        elif limit is not None and now - since > limit:
            raise DoesNotFit(f"waited {now - since:.0f} s (execution.admission_wait) in vain: {reason}", demand)

    def _device(self) -> Device:
        """Where attempts train: what the smoke step found; this process does not import torch to ask."""
        return kind_of(self._session.state.device) or self._plan.likely_device

    def _submit(self, asked: AskedTrial, fit: BatchPlan, admission: Admission) -> RunningTrial:
        demand = fit.demand
        index = len(asked.attempts)
        study = self._session.folder
        folder = AttemptFolder(study.attempt(asked.number, index))
        earlier = [study.attempt(asked.number, i) for i in reversed(range(index))]
        resume_from = [path for path in earlier if AttemptFolder(path).has_checkpoint()]
        for path in earlier:
            if path not in resume_from:  # it left no checkpoint, and on a full disk its weights are in the way
                AttemptFolder(path).remove_checkpoints(weights=True)
        folder.clear()  # of a driver that died before its journal line: nothing has run in it
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
                keep_weights=True if self._session.retrains else None,
            )
        )
        # In the journal before the process exists: an attempt that nobody knows of could write into a folder that is
        # used again.
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
    """What an attempt was predicted to need and took; None where either is not known."""
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
    """In which ways a trial may be run after its `attempts`, in the order of preference.

    A new trial begins with the micro-batch of `size`. An interrupted one continues with the same or a smaller one; one
    that ran out of memory only with a smaller one, and the list may be empty then.
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
    """What bounds the memory that was predicted: on CUDA that of a GPU."""
    return admission.gpu_limit if fit.demand.device == "cuda" else admission.limit
