"""What a trial on a GPU of CUDA needs of the machine's own memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from scalecore.training.memory import floor_bytes

__all__ = ["HOST_MEMORY", "host_memory"]

HOST_MEMORY = 2 * 1024**3
"""Bytes of the machine's memory for a process with CUDA: the interpreter with a CUDA build of torch, the context, and
what is staged for the device. An estimate that was not measured on a GPU: with CUDA's libraries loaded, and before any
context, such a process has some 0.6 GB. What the study's attempts measure replaces it."""

BYTES_PER_PARAMETER = 4
"""Of the machine's memory: the weights, which are built there before they are moved to the GPU."""


def host_memory(ended: Iterable[Mapping[str, Any]], *, num_parameters: int) -> int:
    """Bytes of the machine's memory that a trial on CUDA is predicted to need: its weights, and beside them the most
    that such an attempt of the study took, or an estimate before one has ended."""
    measured = [
        attempt["ended"]["peak_memory"] - attempt["memory"]["floor"] * BYTES_PER_PARAMETER // floor_bytes(1)
        for attempt in ended
        if str((attempt.get("memory") or {}).get("group", "")).startswith("cuda")
        and attempt["ended"].get("class") in ("completed", "pruned")
        and attempt["ended"].get("peak_memory")
    ]
    return max(measured, default=HOST_MEMORY) + BYTES_PER_PARAMETER * num_parameters
