"""Configures the allocator of an attempt's process, and measures its peak memory."""

from __future__ import annotations

import ctypes
import sys
from contextlib import suppress
from typing import Any

import torch

from scalecore.api.worker import peak_memory
from scalecore_torch.memory.cuda import CONTEXT

M_MMAP_THRESHOLD = -3
RETURNED_FROM = 1024**2
"""Bytes. With a threshold of 256 KiB, a step of a small model took 21 % longer; with 4 MiB, half of the memory was
kept."""


def return_large_blocks() -> bool:
    """Configure the C library to return freed blocks of a mebibyte and more to the system.

    Otherwise it keeps blocks of up to 32 MiB, and the process would keep most of the memory that recomputation saves.
    Returns False if the C library is not glibc, which has this setting.
    """
    if sys.platform != "linux":
        return False
    with suppress(OSError, AttributeError):
        return bool(ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, RETURNED_FROM))
    return False


def measured(device: torch.device, *, micro_batch: int) -> dict[str, Any]:
    """This attempt's peak in bytes in the memory that is predicted: of the process, or on the GPU."""
    if device.type == "cuda":
        peak = torch.cuda.max_memory_reserved(device) + CONTEXT
        return {"peak": peak, "source": "torch.cuda.max_memory_reserved", "micro_batch": micro_batch}
    return {"peak": peak_memory(), "source": "resident", "micro_batch": micro_batch}
