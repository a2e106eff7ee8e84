"""Limits an attempt to its share of the memory of its device."""

from __future__ import annotations

import torch

from scalecore.api.worker import limit_data
from scalecore_torch.memory.cuda import CONTEXT

FRACTION = 0.9
"""Largest share of a GPU's memory that the allocator of one attempt may use.

The default on MPS exceeds the physical memory: a Mac would swap instead of failing.
"""


def contain(
    limit: int | None, *, device: torch.device, gpu_limit: int | None = None, gpu_sharers: int = 1
) -> list[str]:
    """Limit this process's allocations on its device: `limit` in bytes on the CPU, `gpu_limit` on a CUDA GPU, or
    without `gpu_limit` an equal part for each of `gpu_sharers`. Returns a description of the limits.
    """
    if device.type == "cuda":
        # torch refuses a device without an index, such as "cuda".
        index = torch.cuda.current_device() if device.index is None else device.index
        fraction = FRACTION / gpu_sharers
        text = f"{fraction:.0%}"
        if gpu_limit is not None:
            total = torch.cuda.get_device_properties(index).total_memory
            fraction = gpu_fraction(gpu_limit, total=total)
            text = f"{fraction * total / 1e9:.1f} GB"
        torch.cuda.set_per_process_memory_fraction(fraction, index)
        return [f"CUDA allocator {text}"]
    if device.type == "mps":
        torch.mps.set_per_process_memory_fraction(FRACTION)
        return [f"MPS allocator {FRACTION:.0%}"]
    return limit_data(limit)


def gpu_fraction(limit: int, *, total: int) -> float:
    """The share of a GPU that torch's allocator may use in a process of at most `limit` bytes; torch does not count the
    context."""
    return min(FRACTION, max(limit - CONTEXT, CONTEXT // 10) / total)
