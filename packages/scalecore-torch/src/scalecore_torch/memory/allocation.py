"""What an attempt's process does about the allocator, and how much memory it really took."""

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
"""Bytes. With blocks from 256 KiB on returned, small models took 21 % longer a step; from 4 MiB on, half was kept."""


def return_large_blocks() -> bool:
    """Tell the C library to give blocks of a mebibyte and more back to the system when they are freed.

    It keeps blocks up to 32 MiB otherwise, and most of what recomputation saves would stay with the process. False
    where the C library has no such setting (it is glibc's).
    """
    if sys.platform != "linux":
        return False
    with suppress(OSError, AttributeError):
        return bool(ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, RETURNED_FROM))
    return False


def measured(device: torch.device, *, micro_batch: int) -> dict[str, Any]:
    """The peak of this attempt in bytes where the predicted memory is: of the process, or on the GPU."""
    if device.type == "cuda":
        peak = torch.cuda.max_memory_reserved(device) + CONTEXT
        return {"peak": peak, "source": "torch.cuda.max_memory_reserved", "micro_batch": micro_batch}
    return {"peak": peak_memory(), "source": "resident", "micro_batch": micro_batch}
