"""The number of trials that run at the same time, also for `execution.slots: auto`."""

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
"""Threads per trial if neither slots nor threads are set: beyond this, more trials are faster than more threads."""


def slots_of(experiment: Experiment, *, device: str | None = None) -> int:
    """Return `execution.slots`; for `auto` the number of GPUs, or else what the cores allow.

    Memory is a further limit, checked at each admission. `device` is the study's device, if already known.
    """
    return slots_and_why(experiment, device=device)[0]


def executor_context(resolved: Resolved, folder: Path, *, device: str | None = None) -> ExecutorContext:
    """Return the context with which the study's executor is created."""
    slots = slots_of(resolved.experiment, device=device)
    return ExecutorContext(folder=folder, slots=slots, worker=resolved.trainer.record.worker)  # type: ignore[attr-defined]  # a TrainerRecord


def slots_and_why(
    experiment: Experiment,
    *,
    device: str | None = None,
    gpus: FoundGpus | None = None,
    available: int | None = None,
) -> tuple[int, str]:
    """Return the slots and the reason as text. GPUs are detected and cores counted if not given."""
    setting, device = experiment.execution.slots, device or experiment.training.device
    if setting != "auto":
        return setting, "as set"
    if device == "cuda" or (device == "auto" and torch_build() != "cpu"):
        found = find_gpus() if gpus is None else gpus
        # With `auto`, trials use the CPU if CUDA does not work; with `cuda`, they need these GPUs or fail.
        if found.names and (device == "cuda" or found.problem is None):
            count = len(found.names)
            return count, f"one for {'the GPU' if count == 1 else f'each of {count} GPUs'} reported by {found.source}"
    if device == "mps" or (device == "auto" and sys.platform == "darwin"):
        return 1, "one for the GPU of this Mac"
    threads = experiment.training.threads
    each = THREADS_OF_A_TRIAL if threads == "auto" else threads
    found_cores = cores() if available is None else available
    return max(1, found_cores // each), f"{found_cores} cores, {each} threads per trial"


def cores() -> int:
    """Return the number of cores available to this process."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
