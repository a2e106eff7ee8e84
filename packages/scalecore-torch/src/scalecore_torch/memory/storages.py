"""The storages of a training step, with the operations that allocate and free them; extrapolation to deeper models.

This module does not import torch. `scalecore_torch.memory.step_trace` records steps of shallow models.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence

from attrs import evolve, field, frozen

REGULAR = 4
"""Blocks of the deeper of two traced models: the first, two in the middle that must be equal, and the last."""


@frozen(kw_only=True)
class Operation:
    """An operation with the storages that it allocated, `(key, bytes)`, and those freed since the previous operation.

    It omits storages so small that only their sum counts.
    """

    name: str
    made: Sequence[tuple[Hashable, int]]
    ended: Sequence[Hashable]
    live: int
    """Bytes of all live storages after it."""

    @property
    def signature(self) -> tuple[str, tuple[int, ...]]:
        """The properties that are equal in every block."""
        return self.name, tuple(size for _, size in self.made)


@frozen(kw_only=True)
class Phase:
    """A forward pass, a backward pass, the optimizer's step, or an evaluation."""

    backward: bool
    evaluation: bool
    operations: Sequence[Operation]

    @property
    def sizes(self) -> Sequence[int]:
        """Bytes of all live storages after each operation."""
        return [operation.live for operation in self.operations]


@frozen(kw_only=True)
class Trace:
    """The phases of one optimizer step and of an evaluation, in order; they are the same at every depth.

    At the start there are the storages that are never freed (weights, moments, buffers), `resident` bytes, and the
    gradients of the previous step, which are freed before the first operation ends.
    """

    phases: Sequence[Phase]
    resident: int
    peak: int
    """The largest sum of all live storages, in bytes."""
    moments: int = 2
    """Storages that the optimizer keeps for each weight, of its gradient's size; the default is AdamW's."""
    gradients: Sequence[tuple[Hashable, int]] = field(init=False)
    """The storages that a step leaves for the next one to free."""

    @gradients.default
    def _left(self) -> Sequence[tuple[Hashable, int]]:
        steps = [phase for phase in self.phases if not phase.evaluation]
        ended = {key for phase in self.phases for one in phase.operations for key in one.ended}
        return [made for phase in steps for one in phase.operations for made in one.made if made[0] not in ended]


def with_counted_moments(trace: Trace) -> Trace:
    """The trace for another optimizer than AdamW: the number of moments follows from the resident bytes."""
    gradients_bytes = sum(size for _, size in trace.gradients)
    return evolve(trace, moments=max(0, trace.resident // gradients_bytes - 1)) if gradients_bytes else trace


def extrapolated(shallow: Trace, deep: Trace, *, depths: tuple[int, int], depth: int) -> int:
    """The peak in bytes at `depth`, extrapolated from traces at two smaller `depths`, for any order of operations.

    Memory is linear in depth if the same operations are compared. Of a backward pass these are its start (the head and
    one block), where activations dominate, and its end (one block and the embedding), where gradients do. In between,
    memory changes in equal steps.
    """
    low, high = depths
    peaks = [deep.peak]
    for first, second in zip(shallow.phases, deep.phases, strict=True):
        if not first.sizes:
            continue
        per_block = (len(second.sizes) - len(first.sizes)) // (high - low)
        length = max(1, len(first.sizes) - (low - 1) * per_block) if first.backward else 0
        for part in (slice(0, length), slice(-length, None)) if first.backward else (slice(None),):
            a, b = max(first.sizes[part]), max(second.sizes[part])
            peaks.append(a + (b - a) * (depth - low) // (high - low))
    return max(peaks)


@frozen(kw_only=True)
class _Place:
    """The place of an operation in its phase: the `at`-th before the blocks, after them, or in the block `layer`.

    Layers count in the order of the forward pass, also in backward passes. `layer` is -1 before and -2 after the
    blocks.
    """

    phase: int
    layer: int
    at: int


BEFORE, AFTER = -1, -2


@frozen(kw_only=True)
class _PhaseLayout:
    """The four blocks of a phase: `length` operations each from `start` on; no blocks if `length` is 0."""

    phase: int
    backward: bool
    start: int
    length: int

    def place(self, index: int) -> _Place:
        if index < self.start or self.length == 0:
            return _Place(phase=self.phase, layer=BEFORE, at=index)
        block, at = divmod(index - self.start, self.length)
        if block >= REGULAR:
            return _Place(phase=self.phase, layer=AFTER, at=index - self.start - REGULAR * self.length)
        return _Place(phase=self.phase, layer=REGULAR - 1 - block if self.backward else block, at=at)

    def sequence(self, operations: Sequence[Operation], depth: int) -> Iterator[tuple[Operation, _Place, int]]:
        """The operations at `depth`, each with its place there and its source layer in the traced model."""
        end = self.start + REGULAR * self.length if self.length else len(operations)
        head = operations[: self.start if self.length else end]
        for at, one in enumerate(head):
            yield one, _Place(phase=self.phase, layer=BEFORE, at=at), BEFORE
        for layer in (reversed(range(depth)) if self.backward else range(depth)) if self.length else ():
            traced = _traced_layer(layer, depth)
            begin = self.start + (REGULAR - 1 - traced if self.backward else traced) * self.length
            for at, one in enumerate(operations[begin : begin + self.length]):
                yield one, _Place(phase=self.phase, layer=layer, at=at), traced
        for at, one in enumerate(operations[end:]):
            yield one, _Place(phase=self.phase, layer=AFTER, at=at), AFTER


def deepened(shallow: Trace, deep: Trace, *, depth: int) -> Trace | None:
    """The trace at `depth`, composed from traces with two and four equal blocks; None if no blocks are found.

    The first two and the last two blocks are as traced; each block between them is like the second. A storage allocated
    in one block and freed in another of a later pass is freed at the same distance in blocks.
    """
    layouts = []
    for index, (first, second) in enumerate(zip(shallow.phases, deep.phases, strict=True)):
        layout = _layout(index, first, second)
        if layout is None:
            return None
        layouts.append(layout)
    ends: dict[Hashable, _Place] = {}
    for layout, phase in zip(layouts, deep.phases, strict=True):
        ends |= {key: layout.place(at) for at, one in enumerate(phase.operations) for key in one.ended}
    sizes: dict[Hashable, int] = {}
    ending: dict[_Place, list[Hashable]] = {}
    drafts: list[list[tuple[Operation, _Place, list[tuple[Hashable, int]]]]] = []
    for layout, phase in zip(layouts, deep.phases, strict=True):
        draft = []
        for one, place, traced in layout.sequence(phase.operations, depth):
            made: list[tuple[Hashable, int]] = [((key, place.layer), size) for key, size in one.made]
            for (key, _), (own, size) in zip(one.made, made, strict=True):
                sizes[own] = size
                if key in ends:
                    layer = _ending_layer(ends[key].layer, made_in=place.layer, traced=traced, depth=depth)
                    ending.setdefault(evolve(ends[key], layer=layer), []).append(own)
            draft.append((one, place, made))
        drafts.append(draft)
    resident = deep.resident + (deep.resident - shallow.resident) * (depth - REGULAR) // 2
    live = peak = resident
    phases = []
    for phase, draft in zip(deep.phases, drafts, strict=True):
        operations = []
        for one, place, made in draft:
            ended = ending.get(place, ())
            live += sum(size for _, size in made) - sum(sizes[key] for key in ended)
            peak = max(peak, live)
            operations.append(Operation(name=one.name, made=made, ended=ended, live=live))
        phases.append(evolve(phase, operations=operations))
    return Trace(phases=phases, resident=resident, peak=peak)


def _layout(index: int, first: Phase, second: Phase) -> _PhaseLayout | None:
    """The layout of a phase with two blocks in `first` and four in `second`; None if the blocks are not equal."""
    count, grown = len(second.operations), len(second.operations) - len(first.operations)
    length, rest = divmod(grown, REGULAR - 2)
    if grown == 0:
        return _PhaseLayout(phase=index, backward=second.backward, start=0, length=0)
    if rest or grown < 0 or count < REGULAR * length:
        return None
    signatures = [one.signature for one in second.operations]
    again = [signatures[at] == signatures[at + length] for at in range(count - length)]
    begin, end = _longest(again)
    # Blocks start where operations start to repeat; with fewer repetitions, the middle blocks must be equal.
    start = min(max(begin + (end - begin - length) // 2 - length, 0), count - REGULAR * length)
    if not all(again[start + length : start + 2 * length]):
        return None
    return _PhaseLayout(phase=index, backward=second.backward, start=start, length=length)


def _longest(flags: Sequence[bool]) -> tuple[int, int]:
    """Start and end of the longest run of True."""
    best = begin = 0, 0
    for at, flag in enumerate(flags):
        begin = (begin[0], at + 1) if flag else (at + 1, at + 1)
        best = max(best, begin, key=lambda run: run[1] - run[0])
    return best


def _traced_layer(layer: int, depth: int) -> int:
    """The layer of the traced model that represents `layer` of a model with `depth` layers."""
    if layer < REGULAR // 2:
        return layer
    return max(1, layer - (depth - REGULAR)) if layer >= depth - REGULAR // 2 else 1


def _ending_layer(ended_in: int, *, made_in: int, traced: int, depth: int) -> int:
    """The layer at `depth` that frees a storage which layer `traced` allocated and layer `ended_in` freed in the
    trace."""
    if ended_in < 0:
        return ended_in
    if traced >= 0:
        return min(max(made_in + ended_in - traced, 0), depth - 1)
    return ended_in if ended_in < REGULAR // 2 else depth - REGULAR + ended_in
