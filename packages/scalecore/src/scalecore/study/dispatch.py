"""From a trial that was asked for to a running attempt: the micro-batch that fits, folder, journal line, start."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Mapping
from typing import Any

from scalecore.execution.folder import AttemptFolder
from scalecore.protocols import Executor
from scalecore.readings import Demand
from scalecore.study.attempts import RunningTrial, attempt_spec
from scalecore.study.quarantine import quarantined
from scalecore.study.session import Session
from scalecore.study.state import AskedTrial

__all__ = ["Dispatcher", "DoesNotFit"]


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

    def __init__(self, session: Session, executor: Executor, *, registry: Mapping[str, Any]) -> None:
        self._session = session
        self._plan = session.plan
        self._executor = executor
        self.registry = dict(registry)
        self._waiting_since: dict[int, float] = {}

    def threads(self) -> int:
        """CPU threads of one attempt: the setting, or this process's cores divided among the slots."""
        setting = self._plan.resolved.experiment.training.threads
        if setting != "auto":
            return setting
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return max(1, cores // self._plan.resolved.experiment.execution.slots)

    def start(self, asked: AskedTrial) -> RunningTrial | None:
        """Submit an attempt with the largest micro-batch that the monitors admit; None when the trial has to wait.

        What does not fit now is tried with a smaller micro-batch first, then waits. Raises `DoesNotFit` when no
        micro-batch helps, when the shape is in quarantine, or when it waited too long while no other trial ran.
        """
        first = micro_batch = self._first_micro_batch(asked)
        waits: str | None = None
        while True:
            architecture = asked.proposal.architecture
            demand = self._plan.demand(architecture, micro_batch, trial=asked.number, device=self._device())
            admission = self._plan.monitors.admit(demand)
            if admission.action == "admit":
                if why := quarantined(self._session.state.records, architecture.id, limit=admission.limit):
                    raise DoesNotFit(why, demand)
                if waits is not None:
                    text = f"trial {asked.number} starts with a micro-batch of {micro_batch}, not {first}: {waits}"
                    self._session.message("info", text)
                return self._submit(asked, demand, memory_limit=admission.limit)
            if admission.action == "wait":
                waits = waits or str(admission.reason)
                if self._session.running and micro_batch * SQUEEZE <= first:
                    self._wait(asked, waits, demand)
                    return None
            if micro_batch == 1:
                if waits is not None:
                    self._wait(asked, waits, demand)
                    return None
                raise DoesNotFit(f"does not fit even with a micro-batch of 1: {admission.reason}", demand)
            micro_batch //= 2

    def _wait(self, asked: AskedTrial, reason: str, demand: Demand) -> None:
        """Asked again every second, told once; only other trials of the study may be waited for without an end."""
        if asked.number not in self._waiting_since:
            self._session.message("info", f"trial {asked.number} waits: {reason}")
        now = time.monotonic()
        since = self._waiting_since.setdefault(asked.number, now)
        limit = self._plan.resolved.experiment.execution.admission_wait
        if self._session.running or self._plan.monitors.pausing:
            self._waiting_since[asked.number] = now
        elif limit is not None and now - since > limit:
            raise DoesNotFit(f"waited {now - since:.0f} s (execution.admission_wait) in vain: {reason}", demand)

    def _first_micro_batch(self, asked: AskedTrial) -> int:
        """What the last attempt had, halved after it ran out of memory; at first what the plan starts with."""
        if not asked.attempts:
            return self._plan.first_micro_batch()
        last = asked.attempts[-1]
        failed = (last.get("ended") or {}).get("class") == "out_of_memory"
        return max(1, int(last["micro_batch"]) // (2 if failed else 1))

    def _device(self) -> Any:
        """Where attempts train: what the smoke step found; this process does not import torch to ask."""
        found = [result.get("device") for result in (self._session.state.smoke or {}).get("results", {}).values()]
        setting = self._plan.resolved.experiment.training.device
        return next((str(one).partition(":")[0] for one in found if one), "cpu" if setting == "auto" else setting)

    def _submit(self, asked: AskedTrial, demand: Demand, *, memory_limit: int | None) -> RunningTrial:
        index = len(asked.attempts)
        study = self._session.folder
        folder = AttemptFolder(study.attempt(asked.number, index))
        earlier = [study.attempt(asked.number, i) for i in reversed(range(index))]
        resume_from = [path for path in earlier if any(path.glob("checkpoint*.pt"))]
        if folder.path.exists():  # made by a driver that died before its journal line: nothing has run in it
            shutil.rmtree(folder.path)
        folder.create(
            attempt_spec(
                self._plan,
                mode="train",
                attempt=f"{asked.number}-{index}",
                number=asked.number,
                architecture=asked.proposal.architecture.values,
                num_parameters=asked.proposal.architecture.num_parameters,
                hyperparameters=asked.hyperparameters,
                seed=asked.seed,
                micro_batch=demand.micro_batch,
                data=study.data,
                threads=self.threads(),
                registry=self.registry,
                resume_from=resume_from,
                memory_limit=memory_limit,
            )
            | self._session.extra
        )
        # In the journal before the process exists: an attempt that nobody knows of could write into a folder that is
        # used again.
        self._session.record(
            "attempt_started",
            {
                "number": asked.number,
                "index": index,
                "micro_batch": demand.micro_batch,
                "predicted_memory": demand.memory,
                "memory_limit": memory_limit,
                "resumes": bool(resume_from),
            },
        )
        return RunningTrial(
            asked=asked,
            index=index,
            folder=folder,
            handle=self._executor.submit(folder.path),
            micro_batch=demand.micro_batch,
            predicted_memory=demand.memory,
            memory_limit=memory_limit,
        )
