"""Replays torch's caching allocator for CUDA while a training step allocates and frees its tensors.

The allocator requests segments from the driver, splits them into blocks, and returns no segment before memory runs out.
It therefore reserves more than the tensors need. Its rules are replayed (c10/cuda/CUDACachingAllocator.cpp, as of torch
2.14, with its default settings): sizes are multiples of 512 bytes; requests up to 1 MiB come from segments of 2 MiB,
those below 10 MiB from segments of 20 MiB, larger ones get a separate segment in steps of 2 MiB; the best fit among
free blocks is split if the remainder can serve another request, and merged again with free neighbours.

Estimates, not measured on a GPU: the workspaces of cuBLAS and the driver's context. This module does not import torch.
"""

from __future__ import annotations

from collections.abc import Hashable

from scalecore_torch.memory.heap import FreeBlocks, apart, replay_evaluation, replay_steps
from scalecore_torch.memory.storages import Trace

MIB = 1024**2
SMALLEST = 512
SMALL = MIB
SMALL_SEGMENT = 2 * MIB
MEDIUM = 10 * MIB
MEDIUM_SEGMENT = 20 * MIB
LARGE_STEP = 2 * MIB
CONTEXT = 500 * MIB
"""Approximate size of the driver's context on the device; torch does not count it."""
WORKSPACES = 2 * 32 * MIB
"""Workspaces of cuBLAS on a Hopper GPU: one for the forward pass, one for the thread of the backward pass."""


class CachingAllocator:
    """The allocator of one stream; addresses are integers."""

    pinned = 0

    def __init__(self) -> None:
        self._free = {True: FreeBlocks(), False: FreeBlocks()}
        """Free blocks for small and for large requests, which share no segments."""
        self._used: dict[Hashable, tuple[bool, int, int]] = {}
        self._next = 0
        self.peak = 0
        """Total bytes of all segments."""

    def allocate(self, key: Hashable, size: int, *, pin: float = 0.0) -> None:
        """Allocate a block for `size` bytes, which `free(key)` returns. `pin` only affects `memory.heap`."""
        length = max(SMALLEST, _rounded(size, SMALLEST))
        small = length <= SMALL
        address, found = self._free[small].fitting(length) or self._segment(length)
        rest = found - length
        if rest >= SMALLEST if small else rest > SMALL:
            self._free[small].put(address + length, rest)
            found = length
        self._used[key] = (small, address, found)

    def free(self, key: Hashable) -> None:
        """Return the block to the allocator."""
        small, address, length = self._used.pop(key)
        self._free[small].put(*self._free[small].joined(address, length))

    def unpin(self, *, keep: int = 0) -> None:
        """No effect: a GPU's memory contains no small host objects."""

    def _segment(self, length: int) -> tuple[int, int]:
        size = SMALL_SEGMENT if length <= SMALL else MEDIUM_SEGMENT if length < MEDIUM else _rounded(length, LARGE_STEP)
        address, self._next = self._next, self._next + size + SMALLEST  # segments are never adjacent
        self.peak += size
        return address, size


def reserved(trace: Trace) -> int:
    """Bytes that the allocator has reserved after training steps and an evaluation."""
    allocator = CachingAllocator()
    replay_steps(trace, allocator)
    replay_evaluation(trace, allocator)
    return max(allocator.peak + apart(trace), trace.peak)


def _rounded(size: int, step: int) -> int:
    return -(-size // step) * step
