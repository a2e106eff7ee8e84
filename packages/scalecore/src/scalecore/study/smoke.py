"""The smoke step: one step on the smallest and one on the largest shape by memory, before the study costs anything.

It finds what would make every trial worthless: a sampled hyper-parameter that nobody reads (G03), a model whose size is
not its formula's (G04), outputs that are probabilities already (G10) or of the wrong shape (G11), an objective that is
not measured (G23), memory that is far from the prediction (G40).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, get_args

from attrs import define

from scalecore.api.errors import ChangedFileError, DeviceError, RefusedError, StudyError
from scalecore.api.executor import AttemptStatus, Executor
from scalecore.api.readings import Admission, Device
from scalecore.api.record_parts import AttemptMemory
from scalecore.api.space import Architecture, middle
from scalecore.execution.attempt_result import AttemptResult
from scalecore.execution.folder import AttemptFolder
from scalecore.planning.build_spec import attempt_spec
from scalecore.planning.memory_demands import Demands
from scalecore.planning.memory_figures import memory_figures, memory_lines
from scalecore.planning.plan import Plan
from scalecore.planning.runtime import Runtime
from scalecore.store.event_lines import event_of
from scalecore.store.events import SmokeStep
from scalecore.store.layout import StudyFolder
from scalecore.store.study_device import StudyDevice, device_of_result, kind_of, missing_device
from scalecore.study.running_trial import run_alone
from scalecore.study.session import Session
from scalecore.study.smoke_text import memory_warnings, smoke_text
from scalecore.study.stop_requests import StopRequests


def smoke_step(
    session: Session, *, executor: Executor, threads: int, registry: Mapping[str, Any], requests: StopRequests
) -> None:
    """Once per study and version of the code, and only where something is left to run; told and journalled."""
    plan, state = session.plan, session.state
    if len(state.counted) >= state.total:
        return
    if state.smoke is not None and state.smoke.versions == dict(plan.versions):
        return
    smoke = _SmokeTest(
        plan=plan,
        runtime=session.runtime,
        folder=session.folder,
        executor=executor,
        threads=threads,
        registry=registry,
        requests=requests,
        device=state.device,
    )
    if session.runtime.forecast.counts:
        session.message("info", "predicting memory: tracing one step of the smallest and the largest shape")
    predicted = {label: smoke.of_a_trial(architecture) for label, architecture in smoke.shapes().items()}
    session.message("info", "smoke step: one step on the smallest and the largest shape")
    started = time.monotonic()
    results = smoke.run(predicted)
    if results is not None:
        found = smoke.device and {"device": smoke.device.plain()}
        session.record(event_of(SmokeStep, versions=plan.versions, results=results, **(found or {})))
        session.message("info", smoke_text(results, seconds=time.monotonic() - started))
        assert state.plan is not None  # the first event has it
        for line in memory_lines(memory_figures(state.plan.memory, state.smoke)):
            session.message("info", f"memory: {line}")
        if plan.likely_device == "cuda" and smoke.device is not None and smoke.device.kind != "cuda":
            text = "a GPU is here, and torch does not use it"
            session.message("warning", f"{text}: the whole study trains on the {smoke.device.kind} device [G48]")
        for text in memory_warnings(results):
            session.message("warning", text)


@define(kw_only=True)
class _SmokeTest:
    """What the smoke steps of a study need."""

    plan: Plan
    runtime: Runtime
    folder: StudyFolder
    executor: Executor
    threads: int
    registry: Mapping[str, Any]
    requests: StopRequests
    device: StudyDevice | None
    """Of the study; where it has none yet, what the first step finds."""

    @property
    def demands(self) -> Demands:
        """The memory that the shapes are predicted to need."""
        return Demands(self.plan, self.runtime.forecast)

    def shapes(self) -> dict[str, Architecture]:
        """By their labels; one shape alone is the smallest."""
        shapes = self.plan.extremes()
        if shapes["largest"] == shapes["smallest"]:
            del shapes["largest"]
        return shapes

    def run(self, predicted: Mapping[str, Mapping[str, Any]]) -> dict[str, Any] | None:
        """Both steps: what they measured beside what was `predicted`, or None when a stop was asked for meanwhile.

        Raises `RefusedError` with the first thing that does not hold. A largest shape that the monitors refuse is left
        out, and said.
        """
        results: dict[str, Any] = {}
        for label, architecture in self.shapes().items():
            results[label] = {"architecture": architecture.id, "of_a_trial": predicted[label]}
            checkpointing = self.plan.step_size.checkpointing == "on"
            monitors, demands = self.runtime.monitors, self.demands
            admission = monitors.admit(demands.of(architecture, 1))
            if admission.action == "refuse" and not checkpointing:
                least, checkpointing = demands.least(architecture)
                admission = monitors.admit(least)
            if admission.action == "refuse":
                results[label]["left_out"] = admission.reason
                continue
            result = self._step(architecture, label, admission=admission, checkpointing=checkpointing)
            if result is None:
                return None
            results[label] |= result
            self.device = self.device or device_of_result(result)
        return results

    def of_a_trial(self, architecture: Architecture) -> dict[str, Any]:
        """What replaces the plan's closed form: the step itself is a small one, and says less of a trial."""
        size = self.plan.step_size
        found = self.demands.predict(architecture, size.micro_batch, checkpointing=size.checkpointing == "on")
        return {"memory": found.bytes, "source": found.source}

    def _step(
        self, architecture: Architecture, label: str, *, admission: Admission, checkpointing: bool
    ) -> dict[str, Any] | None:
        """One step, tried again when its process is killed from outside."""
        retries = self.plan.resolved.experiment.execution.retry.crash
        for again in range(retries + 1):
            folder = AttemptFolder(self.folder.smoke(f"{label}_{again}" if again else label))
            status = self._attempt(architecture, folder, admission=admission, checkpointing=checkpointing)
            if self.requests.asked:
                return None
            result = folder.read_result(folder.path.name)
            if result is not None:
                return self._checked(architecture, result, folder, checkpointing=checkpointing)
            folder.raise_disk_error(status)
            if status.exit_code is not None and status.exit_code >= 0:
                break
        raise StudyError(
            f"the smoke step of {architecture.id} ended with exit code {status.exit_code} and no result:\n"
            f"{folder.log_tail()}"
        )

    def _attempt(
        self, architecture: Architecture, folder: AttemptFolder, *, admission: Admission, checkpointing: bool
    ) -> AttemptStatus:
        folder.clear()
        space = self.plan.resolved.experiment.search.space
        folder.create(
            attempt_spec(
                self.plan,
                mode="smoke",
                attempt=folder.path.name,
                number=None,
                architecture=architecture.values,
                num_parameters=architecture.num_parameters,
                flops=architecture.flops,
                hyperparameters={**self.plan.fixed, **{name: middle(one) for name, one in space.items()}},
                seed=self.plan.resolved.experiment.seed,
                micro_batch=self.plan.step_size.micro_batch,
                data=self.folder.data,
                threads=self.threads,
                memory_limit=admission.limit,
                checkpointing=checkpointing,
                registry=self.registry,
                device=kind_of(self.device),
                gpu=admission.gpu,
            )
        )
        limit = self.plan.resolved.experiment.execution.hang_after
        late = f"the smoke step of {architecture.id} took longer than {limit:.0f} s (execution.hang_after)"
        return run_alone(self.executor, folder, requests=self.requests, limit=limit, late=late)

    def _checked(
        self, architecture: Architecture, result: AttemptResult, folder: AttemptFolder, *, checkpointing: bool
    ) -> dict[str, Any]:
        if result.error == DeviceError.__name__:
            raise missing_device(str(result.reason), self.device)
        if result.error == ChangedFileError.__name__:
            raise ChangedFileError(str(result.reason))
        if result.state != "completed":
            model = self.plan.resolved.model
            where = f"smoke step of model {model.name!r} ({model.provider} {model.version}) with {architecture.id}"
            if result.error == "RefusedError":
                raise RefusedError(f"{where}: {result.reason}")
            raise StudyError(f"{where}: {result.reason}\n{folder.log_tail()}")
        memory, device = result.memory or AttemptMemory(), str(result.device).partition(":")[0]
        if memory.micro_batch is None or device not in get_args(Device):
            raise StudyError(f"{folder.result}: a smoke step that completed names its memory and its device")
        predicted = self.runtime.forecast.predict(
            architecture,
            memory.micro_batch,
            device=device,  # type: ignore[arg-type]  # one of the three
            checkpointing=checkpointing,
            smoke=True,
        )
        names = ("seconds", "num_parameters", "device", "gpu", "torch")
        return {name: value for name in names if (value := getattr(result, name)) is not None} | {
            "micro_batch": memory.micro_batch,
            "peak_memory": memory.peak,
            "predicted_memory": None if predicted is None else predicted.bytes,
        }
