"""What torch's caching allocator of CUDA reserves while a training step allocates and frees its tensors.

It asks the driver for segments, cuts blocks out of them, and gives no segment back before memory runs out. So more is
reserved than tensors take. Its rules are replayed (c10/cuda/CUDACachingAllocator.cpp, as of torch 2.14, with its
default settings): sizes are multiples of 512 bytes; requests up to 1 MiB come from segments of 2 MiB, those below 10
MiB from segments of 20 MiB, larger ones get a segment of their own in steps of 2 MiB; the best fit among free blocks
is cut where the rest can serve another request, and joined again with free neighbours.

Estimates that no GPU has confirmed: what cuBLAS keeps beside that, and the context of the driver.
Nothing here imports torch.
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
"""About what the driver's context takes on the device beside torch's own allocations; torch does not count it."""
WORKSPACES = 2 * 32 * MIB
"""Of cuBLAS on a Hopper GPU, one for the forward pass and one for the thread of the backward pass."""


class CachingAllocator:
    """The allocator of one stream; addresses are numbers."""

    pinned = 0

    def __init__(self) -> None:
        self._free = {True: FreeBlocks(), False: FreeBlocks()}
        """By whether requests are small: the two share no segments."""
        self._used: dict[Hashable, tuple[bool, int, int]] = {}
        self._next = 0
        self.peak = 0
        """Bytes of all segments."""

    def allocate(self, key: Hashable, size: int, *, pin: float = 0.0) -> None:
        """A block for `size` bytes, which `free(key)` gives back. `pin` is the C library's (`memory_heap`)."""
        length = max(SMALLEST, _rounded(size, SMALLEST))
        small = length <= SMALL
        address, found = self._free[small].fitting(length) or self._segment(length)
        rest = found - length
        if rest >= SMALLEST if small else rest > SMALL:
            self._free[small].put(address + length, rest)
            found = length
        self._used[key] = (small, address, found)

    def free(self, key: Hashable) -> None:
        """Give the block back to the allocator."""
        small, address, length = self._used.pop(key)
        self._free[small].put(*self._free[small].joined(address, length))

    def unpin(self, *, keep: int = 0) -> None:
        """Nothing else is in a GPU's memory."""

    def _segment(self, length: int) -> tuple[int, int]:
        size = SMALL_SEGMENT if length <= SMALL else MEDIUM_SEGMENT if length < MEDIUM else _rounded(length, LARGE_STEP)
        address, self._next = self._next, self._next + size + SMALLEST  # no two segments are neighbours
        self.peak += size
        return address, size


def reserved(trace: Trace) -> int:
    """Bytes that the allocator has reserved for the tensors of a training after steps and an evaluation."""
    allocator = CachingAllocator()
    replay_steps(trace, allocator)
    replay_evaluation(trace, allocator)
    return max(allocator.peak + apart(trace), trace.peak)


def _rounded(size: int, step: int) -> int:
    return -(-size // step) * step
