"""From a trial that was asked for to a running attempt: the micro-batch that fits, folder, journal line, start."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from typing import Any

from scalecore.execution.folder import AttemptFolder
from scalecore.protocols import Executor
from scalecore.readings import Demand
from scalecore.study.attempts import RunningTrial, attempt_spec
from scalecore.study.session import Session
from scalecore.study.state import AskedTrial

__all__ = ["Dispatcher", "DoesNotFit"]


class DoesNotFit(Exception):
    """The monitors refuse a trial even at the smallest micro-batch (guard G40)."""

    def __init__(self, reason: str, demand: Demand) -> None:
        super().__init__(f"does not fit even with a micro-batch of 1: {reason}")
        self.demand = demand


class Dispatcher:
    """Admits and submits trials for the driver."""

    def __init__(self, session: Session, executor: Executor, *, registry: Mapping[str, Any]) -> None:
        self._session = session
        self._plan = session.plan
        self._executor = executor
        self.registry = dict(registry)
        self._told_to_wait: set[int] = set()

    def threads(self) -> int:
        """CPU threads of one attempt: the setting, or this process's cores divided among the slots."""
        setting = self._plan.resolved.experiment.training.threads
        if setting != "auto":
            return setting
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return max(1, cores // self._plan.resolved.experiment.execution.slots)

    def start(self, asked: AskedTrial) -> RunningTrial | None:
        """Submit an attempt with the largest micro-batch that the monitors admit; None when the trial has to wait.

        Raises `DoesNotFit` when no micro-batch helps.
        """
        micro_batch = self._first_micro_batch(asked)
        while True:
            architecture = asked.proposal.architecture
            demand = self._plan.demand(architecture, micro_batch, trial=asked.number, device=self._device())
            admission = self._plan.monitors.admit(demand)
            if admission.action == "wait":
                if asked.number not in self._told_to_wait:  # asked again every second, told once
                    self._told_to_wait.add(asked.number)
                    self._session.message("info", f"trial {asked.number} waits: {admission.reason}")
                return None
            if admission.action == "admit":
                return self._submit(asked, demand)
            if micro_batch == 1:
                raise DoesNotFit(str(admission.reason), demand)
            micro_batch //= 2

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

    def _submit(self, asked: AskedTrial, demand: Demand) -> RunningTrial:
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
            )
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
        )
