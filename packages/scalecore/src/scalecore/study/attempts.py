"""One running trial: its attempt's folder, what it says on the way, and how its end is classified."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from attrs import define, field, frozen

from scalecore.api.errors import DeviceError
from scalecore.api.files import read_json
from scalecore.api.protocols import AttemptStatus
from scalecore.execution.folder import DISK_EXIT, AttemptFolder
from scalecore.study.hardware import HardwareSummary
from scalecore.study.layout import StudyFolder
from scalecore.study.pace import Pace
from scalecore.study.state import AskedTrial
from scalecore.training.failures import crash_signal

if TYPE_CHECKING:
    from scalecore.study.plan import Plan

__all__ = ["AttemptEnd", "RunningTrial", "attempt_spec", "left_running"]

EndClass = Literal[
    "completed", "pruned", "diverged", "failed", "out_of_memory", "stopped", "hung", "killed", "crashed", "interrupted"
]


OF_RESULT = ("memory", "pauses", "paused_seconds", "checkpoint_seconds")
"""What the journal keeps of the result of every attempt, also of those that end before the trial does."""


@frozen(kw_only=True)
class AttemptEnd:
    """How an attempt ended, with the evidence."""

    kind: EndClass
    reason: str | None
    exit_code: int | None = None
    peak_memory: int | None = None
    last: Mapping[str, Any] | None = None
    log_tail: str | None = None
    contained: Sequence[str] | None = None
    """What held it within its memory."""
    result: Mapping[str, Any] | None = None

    @property
    def device_is_missing(self) -> bool:
        """Whether the attempt did not get the device that it needs (guard G48)."""
        return (self.result or {}).get("error") == DeviceError.__name__

    def plain(self) -> dict[str, Any]:
        """For the journal; the result itself goes into the trial's record."""
        return {
            "class": self.kind,
            "reason": self.reason,
            "exit_code": self.exit_code,
            "peak_memory": self.peak_memory,
            "last": self.last,
            "log_tail": self.log_tail,
            "contained": self.contained,
            **{name: (self.result or {}).get(name) for name in OF_RESULT},
        }


@define(kw_only=True, eq=False)
class RunningTrial:
    """The driver's side of one attempt."""

    asked: AskedTrial
    index: int
    folder: AttemptFolder
    handle: Any
    micro_batch: int
    predicted_memory: int
    memory_limit: int | None = None
    checkpointing: bool = False
    """Whether activations are recomputed."""
    started: float = field(factory=time.monotonic)
    summary: HardwareSummary = field(factory=HardwareSummary)
    pace: Pace = field(factory=Pace)
    pid: int | None = None
    epochs_seen: int = 0
    progress: Mapping[str, Any] = field(factory=dict)
    clock: Callable[[], float] = time.monotonic
    changed: float = field()
    """When the attempt last showed progress, by `clock`; a beat without a step is no progress (guard G45)."""
    stopping: float | None = None
    cut: tuple[EndClass, str] | None = None
    """Set before the driver kills the attempt: what its end stands for."""
    prune_reason: str | None = None

    @changed.default
    def _now(self) -> float:
        return self.clock()

    @property
    def attempt_id(self) -> str:
        return f"{self.asked.number}-{self.index}"

    def look(self) -> None:
        """Read how far the attempt is."""
        seen = self.folder.read_progress()
        if seen is None:
            return
        if seen != self.progress:
            self.changed = self.clock()
        self.progress = seen

    def fraction_done(self) -> float:
        """Share of the planned epochs that is done; early stopping may end the trial before all of them."""
        return max(0, int(self.progress.get("epoch", 1)) - 1) / int(self.asked.hyperparameters["epochs"])

    def new_epochs(self) -> list[dict[str, Any]]:
        """Lines of the learning curve since the last call."""
        lines = self.folder.read_epochs(after=self.epochs_seen)
        self.epochs_seen += len(lines)
        return lines

    def end(self, status: AttemptStatus) -> AttemptEnd:
        """Classify an attempt that is over. A result that it wrote itself counts before anything else."""
        result = self.folder.read_result(self.attempt_id)
        evidence: dict[str, Any] = {
            "exit_code": status.exit_code,
            "peak_memory": status.peak_memory,
            "last": dict(self.progress) or None,
            "contained": (read_json(self.folder.process) or {}).get("contained"),
        }
        if result is not None:
            reason = result.get("reason") or (self.prune_reason if result["state"] == "pruned" else None)
            tail = self.folder.log_tail() if result["state"] == "failed" else None
            return AttemptEnd(kind=result["state"], reason=reason, result=result, log_tail=tail, **evidence)
        evidence["log_tail"] = self.folder.log_tail(characters=6000) or None
        if self.cut is not None:
            return AttemptEnd(kind=self.cut[0], reason=self.cut[1], **evidence)
        if status.oom_kill is not None:
            reason = f"the kernel killed the attempt for lack of memory: {status.oom_kill}"
            return AttemptEnd(kind="out_of_memory", reason=reason, **evidence)
        if status.exit_code == DISK_EXIT:
            return AttemptEnd(kind="interrupted", reason=self.folder.disk_problem(), **evidence)
        if status.state == "lost":
            return AttemptEnd(kind="killed", reason="the executor lost the attempt", **evidence)
        if status.exit_code is not None and status.exit_code < 0:
            name, own = crash_signal(status.exit_code)
            if own:
                return AttemptEnd(kind="crashed", reason=f"the attempt crashed with {name}", **evidence)
            return AttemptEnd(kind="killed", reason=f"the attempt was killed from outside by {name}", **evidence)
        return AttemptEnd(
            kind="crashed", reason=f"the attempt ended with exit code {status.exit_code} and no result", **evidence
        )


def left_running(folder: StudyFolder, asked: AskedTrial) -> tuple[RunningTrial, AttemptEnd]:
    """The last attempt of a trial whose driver is gone, and its end.

    That is the attempt's own result, else what the driver journalled, else `interrupted`.
    """
    last = asked.attempts[-1]
    ended = last.get("ended") or {"class": "interrupted", "reason": "the driver ended before the attempt did"}
    running = RunningTrial(
        asked=asked,
        index=last["index"],
        folder=AttemptFolder(folder.attempt(asked.number, last["index"])),
        handle=None,
        micro_batch=last["micro_batch"],
        predicted_memory=last["predicted_memory"],
        memory_limit=last["gpu_limit"] if "gpu_limit" in last else last.get("memory_limit"),
        checkpointing=bool(last.get("activation_checkpointing")),
        cut=(ended["class"], ended["reason"]),
    )
    return running, running.end(AttemptStatus(state="lost", peak_memory=ended.get("peak_memory")))


def attempt_spec(
    plan: Plan,
    *,
    mode: Literal["train", "smoke"],
    attempt: str,
    number: int | None,
    architecture: Mapping[str, int],
    num_parameters: int,
    hyperparameters: Mapping[str, Any],
    seed: int,
    micro_batch: int,
    data: Path,
    threads: int,
    registry: Mapping[str, Any],
    resume_from: Sequence[Path] = (),
    memory_limit: int | None = None,
    checkpointing: bool = False,
    device: str | None = None,
    gpu: str | None = None,
    gpu_limit: int | None = None,
    gpu_sharers: int = 1,
) -> dict[str, Any]:
    """The whole content of `spec.json`: everything the attempt's process needs, by value.

    `device` is that of the study, where it is known; `gpu` the one that its admission judged; `gpu_sharers` how many
    may run on one GPU at a time.
    """
    training, objective = plan.resolved.experiment.training, plan.resolved.experiment.objective
    model = plan.experiment["model"]
    stopping = training.early_stopping
    effective = training.effective_batch if mode == "train" else min(training.effective_batch, 8)
    return {
        "attempt": attempt,
        "number": number,
        "mode": mode,
        # Of all plugins a model needs its own: looking for the others and importing them would take half of a short
        # attempt.
        "registry": {**plan.resolved.registry(registry), "only": plan.resolved.model.provider},
        "model": {"use": model["use"], "options": {key: value for key, value in model.items() if key != "use"}},
        "architecture": dict(architecture),
        "num_parameters": num_parameters,
        "hyperparameters": dict(hyperparameters),
        "sampled": sorted(plan.resolved.experiment.search.space),
        "shape": {
            "context": plan.shape.context,
            "features": plan.shape.features,
            "outputs": plan.shape.outputs,
        },
        "task": plan.data.task,
        "loss": plan.loss,
        "label_overlap": max(1, int(plan.data.target["horizon"])),
        "data": str(data),
        "seed": seed,
        "device": device or training.device,
        "threads": threads,
        "precision": training.precision,
        "compile": training.compile,
        "launches": training.launches,
        "products": None if plan.products is None else plan.products.plain(),
        "compile_rule": plan.compile_rule,
        "flops": plan.family.flops(architecture, plan.shape),
        "memory_limit": memory_limit,
        **({} if gpu is None else {"gpu": gpu, "gpu_limit": gpu_limit}),
        **({} if gpu_sharers == 1 else {"gpu_sharers": gpu_sharers}),
        "activation_checkpointing": checkpointing,
        "keep_weights": training.keep_weights > 0,
        "plan": {
            "effective_batch": effective,
            "micro_batch": min(micro_batch, effective),
            "schedule": training.schedule,
            "gradient_clip": training.gradient_clip,
            "patience": stopping.patience if stopping else None,
            "min_delta": stopping.min_delta if stopping else 0.0,
            "metric": objective.metric,
            "direction": objective.direction,
            "reduction": objective.reduction,
            "seed": seed,
            "checkpoint_every": training.checkpoint_every,
            "checkpoint_epochs": training.checkpoint_epochs,
            "min_denominator": plan.min_denominator,
        },
        "resume_from": [str(path) for path in resume_from],
    }
