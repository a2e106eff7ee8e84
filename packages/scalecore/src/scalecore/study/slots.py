"""How many trials run at the same time, where the experiment file leaves that to the machine."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

from scalecore.config.experiment import Experiment
from scalecore.execution.devices import visible_gpus

__all__ = ["cores", "slots_and_why", "slots_of"]

THREADS_OF_A_TRIAL = 4
"""Where neither slots nor threads are given: beyond this, more trials gain more than more threads."""


def slots_of(experiment: Experiment) -> int:
    """`execution.slots`, or as many as GPUs, or else as the cores carry. Memory decides besides, at each admission."""
    return slots_and_why(experiment)[0]


def slots_and_why(
    experiment: Experiment,
    *,
    environment: Mapping[str, str] = os.environ,
    available: int | None = None,
) -> tuple[int, str]:
    """The same with the reason in words. `available` cores are counted where they are not given."""
    setting, device = experiment.execution.slots, experiment.training.device
    if setting != "auto":
        return setting, "as set"
    gpus = len(visible_gpus(environment)) if device in ("auto", "cuda") else 0
    if gpus:
        return gpus, f"one for each of {gpus} GPUs"
    if device == "mps" or (device == "auto" and sys.platform == "darwin"):
        return 1, "one for the GPU of this Mac"
    threads = experiment.training.threads
    each = THREADS_OF_A_TRIAL if threads == "auto" else threads
    found = cores() if available is None else available
    return max(1, found // each), f"{found} cores, {each} threads a trial"


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
