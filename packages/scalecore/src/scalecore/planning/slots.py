"""How many trials run at the same time, where the experiment file leaves that to the machine."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from scalecore.api.executor import ExecutorContext
from scalecore.config.experiment import Experiment
from scalecore.config.resolved import Resolved
from scalecore.execution.local.devices import FoundGpus, find_gpus
from scalecore.store.study_device import torch_build

THREADS_OF_A_TRIAL = 4
"""Where neither slots nor threads are given: beyond this, more trials gain more than more threads."""


def slots_of(experiment: Experiment, *, device: str | None = None) -> int:
    """`execution.slots`, or as many as GPUs, or else as the cores carry. Memory decides besides, at each admission.

    `device` is that of the study, where it is known already.
    """
    return slots_and_why(experiment, device=device)[0]


def executor_context(resolved: Resolved, folder: Path, *, device: str | None = None) -> ExecutorContext:
    """What the executor of a study is made with."""
    slots = slots_of(resolved.experiment, device=device)
    return ExecutorContext(folder=folder, slots=slots, worker=resolved.trainer.record.worker)  # type: ignore[attr-defined]  # a TrainerRecord


def slots_and_why(
    experiment: Experiment,
    *,
    device: str | None = None,
    gpus: FoundGpus | None = None,
    available: int | None = None,
) -> tuple[int, str]:
    """The same with the reason in words. `gpus` are looked for, and `available` cores counted, where not given."""
    setting, device = experiment.execution.slots, device or experiment.training.device
    if setting != "auto":
        return setting, "as set"
    if device == "cuda" or (device == "auto" and torch_build() != "cpu"):
        found = find_gpus() if gpus is None else gpus
        # With `auto`, trials use the CPU where CUDA does not answer; with `cuda`, they need those GPUs or fail.
        if found.names and (device == "cuda" or found.problem is None):
            count = len(found.names)
            return count, f"one for {'the GPU' if count == 1 else f'each of {count} GPUs'} that {found.source} names"
    if device == "mps" or (device == "auto" and sys.platform == "darwin"):
        return 1, "one for the GPU of this Mac"
    threads = experiment.training.threads
    each = THREADS_OF_A_TRIAL if threads == "auto" else threads
    found_cores = cores() if available is None else available
    return max(1, found_cores // each), f"{found_cores} cores, {each} threads a trial"


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
