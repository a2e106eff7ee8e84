"""Replays glibc's malloc while a training step allocates and frees its tensors.

A process needs more memory than the largest sum of its live tensors: the allocator keeps freed blocks until a request
fits into them. The amount follows from the order of requests and the allocator's rules, so both are replayed (glibc's
malloc/malloc.c, as of version 2.36):

- requests use the best fit among free blocks, which are merged with free neighbours;
- large blocks come from mmap and are returned to the system when freed; the size limit rises with each such block that
  is freed, up to 32 MiB, unless the program has set it;
- the free end of the heap is returned when it exceeds twice that limit;
- torch requests addresses that are multiples of 64: malloc takes a block that is 96 bytes larger, cuts out the aligned
  piece, and frees the two remainders. Small objects of the autograd graph of a forward pass fill them. The block of a
  freed tensor is then too small for another tensor of its size. The backward pass frees the graph from its end.

This module does not import torch.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Hashable, Sequence
from typing import Protocol

from scalecore_torch.memory.storages import Phase, Trace

PAGE = 4096
HEADER = 16
SMALLEST = 32
ALIGNMENT = 64
FIRST_THRESHOLD = 128 * 1024
LARGEST_THRESHOLD = 32 * 1024**2
TOP_PAD = 128 * 1024
STEPS = 3
"""From the second step on the moments exist, and the layout of blocks no longer changes."""
LEAST = 1024
"""Bytes of the smallest storages that are replayed; smaller allocations share bins of little importance."""
PINNED = 0.4
"""Share of the remainders beside tensors of a forward pass that small objects occupy: the only number here that is not
a rule of the allocator, fitted to measured processes (`benchmarks/memory.py`)."""
SPREADING = 0.6180339887498949
"""Multiples of the golden ratio select this share evenly, without a period that tensors could match."""


class FreeBlocks:
    """Free blocks by length and by address; addresses are integers."""

    def __init__(self) -> None:
        self._free: list[tuple[int, int]] = []
        """(length, address), sorted."""
        self._length_at: dict[int, int] = {}
        self._address_before: dict[int, int] = {}

    def fitting(self, length: int) -> tuple[int, int] | None:
        """Remove the smallest block of at least `length`, at the lowest address; returns its address and length."""
        at = bisect_left(self._free, (length, -1))
        if at == len(self._free):
            return None
        found, address = self._free[at]
        self._take_out(address, found)
        return address, found

    def joined(self, address: int, length: int) -> tuple[int, int]:
        """Address and length of a block merged with its free neighbours, which are removed."""
        end = address + length
        if end in self._length_at:
            end += self._take_out(end, self._length_at[end])
        if address in self._address_before:
            begin = self._address_before[address]
            self._take_out(begin, address - begin)
            address = begin
        return address, end - address

    def put(self, address: int, length: int) -> None:
        """Add a block that has no free neighbours."""
        insort(self._free, (length, address))
        self._length_at[address] = length
        self._address_before[address + length] = address

    def _take_out(self, address: int, length: int) -> int:
        del self._free[bisect_left(self._free, (length, address))]
        del self._length_at[address], self._address_before[address + length]
        return length


class ReplayedAllocator(Protocol):
    """An allocator that can replay a trace."""

    peak: int

    @property
    def pinned(self) -> int: ...

    def allocate(self, key: Hashable, size: int, *, pin: float = 0.0) -> None: ...

    def free(self, key: Hashable) -> None: ...

    def unpin(self, *, keep: int = 0) -> None: ...


class Heap:
    """The main arena of a process with one thread; addresses are integers."""

    def __init__(self, *, threshold: int | None = None) -> None:
        """`threshold` is the mmap threshold in bytes if the program sets it; it is then fixed."""
        self._rises = threshold is None
        self._threshold = FIRST_THRESHOLD if threshold is None else threshold
        self._trim_above = FIRST_THRESHOLD
        self._top = self._break = self._mapped = 0
        self._free = FreeBlocks()
        self._used: dict[Hashable, tuple[int | None, int]] = {}
        self._pinned: list[tuple[int, int]] = []
        self._spread = 0.0
        self.peak = 0

    def emptied(self) -> Heap:
        """A new heap with this one's current limits."""
        other = Heap()
        other._rises, other._threshold, other._trim_above = self._rises, self._threshold, self._trim_above
        return other

    @property
    def bytes(self) -> int:
        """Bytes of the heap and of blocks from mmap."""
        return self._break + self._mapped

    @property
    def pinned(self) -> int:
        """Number of remainders that small objects occupy."""
        return len(self._pinned)

    def allocate(self, key: Hashable, size: int, *, pin: float = 0.0) -> None:
        """Allocate a block for `size` bytes, which `free(key)` returns; small objects occupy a share `pin` of its
        remainders."""
        wanted = -(-(size + HEADER // 2) // HEADER) * HEADER
        length = wanted + ALIGNMENT + SMALLEST
        address = self._block(length)
        if address is None:
            self._mapped += _pages(length)
            self._used[key] = (None, _pages(length))
        else:
            begin = address + -(address + HEADER) % ALIGNMENT
            begin += ALIGNMENT if 0 < begin - address < SMALLEST else 0
            end = begin + wanted
            rests = [(address, begin - address), (end, address + length - end)]
            if rests[1][1] < SMALLEST:
                end = address + length
            self._used[key] = (begin, end - begin)
            for at, rest in rests:
                if rest >= SMALLEST:
                    self._leave(at, rest, pin)
        self.peak = max(self.peak, self.bytes)

    def free(self, key: Hashable) -> None:
        """Free the block."""
        address, length = self._used.pop(key)
        if address is not None:
            self._join(address, length)
            return
        self._mapped -= length
        if self._rises and self._threshold < length <= LARGEST_THRESHOLD:
            self._threshold, self._trim_above = length, 2 * length

    def unpin(self, *, keep: int = 0) -> None:
        """Free small objects, the latest first, until `keep` are left."""
        while len(self._pinned) > keep:
            self._join(*self._pinned.pop())

    def _block(self, length: int) -> int | None:
        """The address of a block on the heap; None for one from mmap."""
        if (free := self._free.fitting(length)) is not None:
            address, found = free
            if found > length:
                self._free.put(address + length, found - length)
            return address
        if self._top + length > self._break:
            if length >= self._threshold:
                return None
            self._break = _pages(self._top + length + TOP_PAD)
        address, self._top = self._top, self._top + length
        return address

    def _leave(self, address: int, length: int, pin: float) -> None:
        """Free a remainder beside a tensor, or let a small object occupy it."""
        self._spread = (self._spread + SPREADING) % 1
        if self._spread < pin:
            self._pinned.append((address, length))
        else:
            self._join(address, length)

    def _join(self, address: int, length: int) -> None:
        """Free a block and merge it with its neighbours."""
        address, length = self._free.joined(address, length)
        if address + length != self._top:
            self._free.put(address, length)
            return
        self._top = address
        if self._break - self._top >= self._trim_above:
            self._break = _pages(self._top + TOP_PAD)


def held(trace: Trace, *, threshold: int | None = None, gives_back: bool = False) -> int:
    """The peak bytes that the allocator holds for the tensors of training steps and an evaluation.

    Resident storages that are neither weights nor moments are added separately. With `gives_back`, free pages are
    returned to the system before the evaluation (`scalecore_torch.training.free_memory`).
    """
    heap = Heap(threshold=threshold)
    replay_steps(trace, heap)
    gradients_bytes = sum(size for _, size in trace.gradients)
    evaluated = 0
    if gives_back:
        # The evaluation uses new pages in addition to the live ones, whatever their addresses.
        fresh = heap.emptied()
        replay_evaluation(trace, fresh)
        evaluated = trace.resident + gradients_bytes + fresh.peak
    else:
        replay_evaluation(trace, heap)
    # For a model so small that no storage is followed, the sum.
    return max(heap.peak + apart(trace), evaluated, trace.peak)


def apart(trace: Trace) -> int:
    """Bytes of resident storages that are neither weights nor moments."""
    return max(0, trace.resident - (1 + trace.moments) * sum(size for _, size in trace.gradients))


def replay_steps(trace: Trace, allocator: ReplayedAllocator) -> None:
    """Replay the weights and some steps; the moments, of the gradients' sizes, are allocated after the first step."""
    gradients = [(key, size) for key, size in trace.gradients if size >= LEAST]
    for key, size in gradients:
        allocator.allocate(("weight", key), size)
    for step in range(STEPS):
        if step > 0:
            for key, _ in gradients:
                allocator.free(key)
        _replay([phase for phase in trace.phases if not phase.evaluation], allocator)
        if step == 0:
            for key, size in gradients:
                for moment in range(trace.moments):
                    allocator.allocate((moment, key), size)


def replay_evaluation(trace: Trace, allocator: ReplayedAllocator) -> None:
    """Replay the evaluation alone, after steps or on an empty allocator."""
    _replay([phase for phase in trace.phases if phase.evaluation], allocator)


def _replay(phases: Sequence[Phase], allocator: ReplayedAllocator) -> None:
    alive: set[Hashable] = set()
    for phase in phases:
        graph, count = allocator.pinned, len(phase.operations)
        pin = 0.0 if phase.backward or phase.evaluation else PINNED
        for at, operation in enumerate(phase.operations):
            for key in operation.ended:
                if key in alive:
                    alive.remove(key)
                    allocator.free(key)
            for key, size in operation.made:
                if size >= LEAST:
                    alive.add(key)
                    allocator.allocate(key, size, pin=pin)
            if phase.backward:
                allocator.unpin(keep=graph * (count - 1 - at) // count)
    allocator.unpin()


def _pages(size: int) -> int:
    return -(-size // PAGE) * PAGE
