"""The smoke step: one training step on the smallest and one on the largest shape by memory, before the first trial.

It finds problems that would make every trial worthless: a sampled hyper-parameter that is never read (G03), a model
whose size differs from its formula (G04), outputs that are already probabilities (G10) or have the wrong shape (G11),
an objective that is not measured (G23), memory far from the prediction (G40).
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
    """Run, report and journal the smoke step, once per study and code version, if any trial is left to run."""
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
            text = "this machine has a GPU that torch does not use"
            session.message("warning", f"{text}: the whole study trains on the {smoke.device.kind} device")
        for text in memory_warnings(results):
            session.message("warning", text)


@define(kw_only=True)
class _SmokeTest:
    """The smoke steps of a study."""

    plan: Plan
    runtime: Runtime
    folder: StudyFolder
    executor: Executor
    threads: int
    registry: Mapping[str, Any]
    requests: StopRequests
    device: StudyDevice | None
    """The device of the study; if unknown, set by the first step."""

    @property
    def demands(self) -> Demands:
        """The predicted memory of the shapes."""
        return Demands(self.plan, self.runtime.forecast)

    def shapes(self) -> dict[str, Architecture]:
        """The shapes by label; a single shape is the smallest."""
        shapes = self.plan.extremes()
        if shapes["largest"] == shapes["smallest"]:
            del shapes["largest"]
        return shapes

    def run(self, predicted: Mapping[str, Mapping[str, Any]]) -> dict[str, Any] | None:
        """Run both steps and return measurements next to the `predicted` memory; None if a stop was requested.

        Raises `RefusedError` for the first failed check. A shape that the monitors refuse is skipped and reported.
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
        """Predict the memory of a whole trial, which the small smoke step does not measure."""
        size = self.plan.step_size
        found = self.demands.predict(architecture, size.micro_batch, checkpointing=size.checkpointing == "on")
        return {"memory": found.bytes, "source": found.source}

    def _step(
        self, architecture: Architecture, label: str, *, admission: Admission, checkpointing: bool
    ) -> dict[str, Any] | None:
        """Run one step; retry it if its process is killed from outside."""
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
            raise StudyError(f"{folder.result}: a completed smoke step must report its memory and device")
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
