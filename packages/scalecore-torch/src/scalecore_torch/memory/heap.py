"""What glibc's malloc holds while a training step allocates and frees its tensors.

A process needs more than the largest sum of its live tensors: freed blocks stay with the allocator until a request fits
into them. How much that is follows from the order of requests and the allocator's rules, so both are replayed (glibc's
malloc/malloc.c, as of version 2.36):

- the best fit among free blocks, which are joined with free neighbours;
- large blocks from mmap, given back when freed; the limit between the two rises with each such block that is freed, up
  to 32 MiB, unless the program has set it;
- the free end of the heap is given back when it exceeds twice that limit;
- torch asks for addresses that are multiples of 64: malloc takes a block that is 96 bytes larger, cuts the right piece
  out, and frees the two rests. Into these go small objects of the graph that a forward pass builds. Then the block of a
  tensor that ends is too small for another one of its size. The backward pass takes the graph apart, from its end.

Nothing here imports torch.
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
"""After the second step the moments are there, and blocks lie as they will in every further one."""
LEAST = 1024
"""Bytes of the smallest storages that count: below, allocations of all kinds share bins that matter little."""
PINNED = 0.4
"""Share of the rests beside tensors of a forward pass that small objects take: the one number here that is no rule of
the allocator, set by what processes held (`benchmarks/memory.py`)."""
SPREADING = 0.6180339887498949
"""Multiples of the golden ratio fall evenly into a share, and in step with no pattern of the tensors."""


class FreeBlocks:
    """Free blocks by length and by address; addresses are numbers."""

    def __init__(self) -> None:
        self._free: list[tuple[int, int]] = []
        """(length, address), sorted."""
        self._length_at: dict[int, int] = {}
        self._address_before: dict[int, int] = {}

    def fitting(self, length: int) -> tuple[int, int] | None:
        """Take out the smallest block of at least `length`, of equal ones the lowest: its address and length."""
        at = bisect_left(self._free, (length, -1))
        if at == len(self._free):
            return None
        found, address = self._free[at]
        self._take_out(address, found)
        return address, found

    def joined(self, address: int, length: int) -> tuple[int, int]:
        """Address and length of a block with its free neighbours, which are taken out."""
        end = address + length
        if end in self._length_at:
            end += self._take_out(end, self._length_at[end])
        if address in self._address_before:
            begin = self._address_before[address]
            self._take_out(begin, address - begin)
            address = begin
        return address, end - address

    def put(self, address: int, length: int) -> None:
        """Add a block whose neighbours are not free."""
        insort(self._free, (length, address))
        self._length_at[address] = length
        self._address_before[address + length] = address

    def _take_out(self, address: int, length: int) -> int:
        del self._free[bisect_left(self._free, (length, address))]
        del self._length_at[address], self._address_before[address + length]
        return length


class ReplayedAllocator(Protocol):
    """What a trace is replayed on."""

    peak: int

    @property
    def pinned(self) -> int: ...

    def allocate(self, key: Hashable, size: int, *, pin: float = 0.0) -> None: ...

    def free(self, key: Hashable) -> None: ...

    def unpin(self, *, keep: int = 0) -> None: ...


class Heap:
    """The main arena of a process with one thread; addresses are numbers."""

    def __init__(self, *, threshold: int | None = None) -> None:
        """`threshold` in bytes where the program has set it, which ends its rising."""
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
        """A new one, with the limits that this one has come to."""
        other = Heap()
        other._rises, other._threshold, other._trim_above = self._rises, self._threshold, self._trim_above
        return other

    @property
    def bytes(self) -> int:
        """Of the heap and of blocks from mmap."""
        return self._break + self._mapped

    @property
    def pinned(self) -> int:
        """How many rests small objects have taken."""
        return len(self._pinned)

    def allocate(self, key: Hashable, size: int, *, pin: float = 0.0) -> None:
        """A block for `size` bytes, which `free(key)` gives back; small objects take a share `pin` of its rests."""
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
        """Give the block back."""
        address, length = self._used.pop(key)
        if address is not None:
            self._join(address, length)
            return
        self._mapped -= length
        if self._rises and self._threshold < length <= LARGEST_THRESHOLD:
            self._threshold, self._trim_above = length, 2 * length

    def unpin(self, *, keep: int = 0) -> None:
        """Small objects end, the latest first, until `keep` are left."""
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
        """A rest beside a tensor is free, or taken by a small object."""
        self._spread = (self._spread + SPREADING) % 1
        if self._spread < pin:
            self._pinned.append((address, length))
        else:
            self._join(address, length)

    def _join(self, address: int, length: int) -> None:
        """A block becomes free."""
        address, length = self._free.joined(address, length)
        if address + length != self._top:
            self._free.put(address, length)
            return
        self._top = address
        if self._break - self._top >= self._trim_above:
            self._break = _pages(self._top + TOP_PAD)


def held(trace: Trace, *, threshold: int | None = None, gives_back: bool = False) -> int:
    """The largest number of bytes that the allocator holds for the tensors of a training: steps and an evaluation.

    What is `resident` and neither weight nor moment stays apart. With `gives_back` free pages go back to the system
    before the evaluation (`scalecore_torch.training.free_memory`).
    """
    heap = Heap(threshold=threshold)
    replay_steps(trace, heap)
    gradients_bytes = sum(size for _, size in trace.gradients)
    evaluated = 0
    if gives_back:
        # Whatever their addresses are, the pages that the evaluation takes are new ones beside what is alive.
        fresh = heap.emptied()
        replay_evaluation(trace, fresh)
        evaluated = trace.resident + gradients_bytes + fresh.peak
    else:
        replay_evaluation(trace, heap)
    # Of a model so small that none of its storages is followed, the sum.
    return max(heap.peak + apart(trace), evaluated, trace.peak)


def apart(trace: Trace) -> int:
    """Bytes of what is resident and neither weight nor moment."""
    return max(0, trace.resident - (1 + trace.moments) * sum(size for _, size in trace.gradients))


def replay_steps(trace: Trace, allocator: ReplayedAllocator) -> None:
    """The weights, and some steps; the moments are made after the first one, of the sizes of the gradients."""
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
    """The evaluation alone, after steps or on an empty one."""
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
