"""How much memory the tensors of one training step need, found without allocating any.

The real trainer makes real steps on fake tensors: torch's `FakeTensorMode` computes shapes and no values. Every live
storage is followed through forward, backward and optimizer, and the largest sum of their sizes is the peak. Deep models
are not traced: memory is linear in the number of equal blocks, so two small depths give the peak of any depth. At 2
billion parameters and 256 layers that is a fraction of a second.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any

import torch
from attrs import frozen
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from scalecore.training.trainer import Trainer

__all__ = ["FakeWindows", "LiveStorages", "Phase", "Trace", "extrapolated", "trace_step"]


@frozen(kw_only=True)
class Phase:
    """A forward pass, a backward pass, or the optimizer's step: bytes of all live storages after each operation."""

    backward: bool
    sizes: Sequence[int]


@frozen(kw_only=True)
class Trace:
    """The phases of one optimizer step and of an evaluation, in their order; the same phases at every depth."""

    phases: Sequence[Phase]

    @property
    def peak(self) -> int:
        """The largest sum of live storages, in bytes."""
        return max(max(phase.sizes) for phase in self.phases)


def extrapolated(shallow: Trace, deep: Trace, *, depths: tuple[int, int], depth: int) -> int:
    """The peak in bytes at `depth`, from the traces at two smaller `depths`.

    Linear in depth where the same operations are compared: of a backward pass its beginning, the head and one block,
    where activations weigh most, and its end, one block and the embedding, where gradients do. In between, memory goes
    from the one to the other in equal steps.
    """
    low, high = depths
    peaks = []
    for first, second in zip(shallow.phases, deep.phases, strict=True):
        per_block = (len(second.sizes) - len(first.sizes)) // (high - low)
        length = max(1, len(first.sizes) - (low - 1) * per_block) if first.backward else 0
        for part in (slice(0, length), slice(-length, None)) if first.backward else (slice(None),):
            a, b = max(first.sizes[part]), max(second.sizes[part])
            peaks.append(a + (b - a) * (depth - low) // (high - low))
    return max(peaks)


class FakeWindows:
    """Stands for a `WindowSource` where no data is: batches of the right shape."""

    def __init__(self, *, windows: int, context: int, features: int, device: torch.device) -> None:
        self.context, self.features = context, features
        self._windows, self._device = windows, device

    def __len__(self) -> int:
        return self._windows

    def batch(self, indices: Tensor, *, out: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Like that of `WindowSource`, with values that nobody looks at."""
        size = len(indices)
        x = torch.zeros((size, self.context, self.features), device=self._device) if out is None else out[:size]
        return x, torch.zeros(size, device=self._device)


def trace_step(build: Callable[[], Trainer], *, evaluate: int) -> Trace:
    """The trace of one optimizer step after the first, and of evaluating `evaluate` windows at once.

    `build` is called on fake tensors and returns a trainer whose effective batch is one micro-batch, or two where
    gradients are accumulated. What the trainer does, it does here: precision, loss, clipping, checkpointing.
    """
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode(), LiveStorages() as live:
        trainer = build()
        trainer.optimizer_step()  # the optimizer makes its state in its first step
        live.begin()
        trainer.optimizer_step()
        step = live.phases()
        live.begin()
        with torch.inference_mode():
            trainer.module.eval()
            x_BTF, _ = trainer.validation.batch(torch.zeros(evaluate, dtype=torch.int64, device=trainer.device))
            trainer.logits(x_BTF)
        return Trace(phases=(*step, *live.phases()))


class LiveStorages(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's class hook has no types
    """The bytes of all storages that are alive, after each operation."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bytes = 0
        self._known: set[int] = set()
        self._phases: list[tuple[bool, list[int]]] = []
        self.begin()

    def begin(self) -> None:
        """Forget the peaks so far; what is alive stays."""
        self._phases = [(False, [self.bytes])]

    def phases(self) -> list[Phase]:
        """What happened since `begin`."""
        return [Phase(backward=backward, sizes=sizes) for backward, sizes in self._phases]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten._local_scalar_dense.default:
            # Whoever reads a number of a tensor (is the loss finite?) is told one: nobody decides by it here.
            return 1.0 if args[0].is_floating_point() else 1
        if func is torch.ops.aten.equal.default:
            return True
        result = func(*args, **(kwargs or {}))
        for item in tree_iter(result):
            if isinstance(item, Tensor):
                self._follow(item.untyped_storage())
        # Recomputation for checkpointing is part of the backward pass: it runs inside of one of its nodes.
        backward = torch._C._current_autograd_node() is not None
        if self._phases[-1][0] is not backward:
            self._phases.append((backward, []))
        self._phases[-1][1].append(self.bytes)
        return result

    def _follow(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key in self._known:
            return
        size = storage.nbytes()
        self._known.add(key)
        self.bytes += size
        weakref.finalize(storage, self._forget, key, size)

    def _forget(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.bytes -= size
