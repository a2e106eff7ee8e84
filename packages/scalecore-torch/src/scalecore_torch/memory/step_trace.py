"""How much memory the tensors of one training step need, found without allocating any.

The real trainer makes real steps on fake tensors: torch's `FakeTensorMode` computes shapes and no values. Every storage
is followed through forward, backward and optimizer, and the largest sum of their sizes is the peak. Deep models are not
traced: equal blocks make equal operations, so two small depths give the trace of any depth
(`scalecore_torch.memory.storages`).
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from scalecore_torch.memory.storages import Operation, Phase, Trace
from scalecore_torch.training.training_loop import TrainingLoop

FOLLOWED_FROM = 1024
"""Bytes of the smallest storages that are followed one by one; smaller ones only count in sums."""


class FakeWindows:
    """Stands for a `WindowSource` where no data is: batches of the right shape."""

    def __init__(self, *, windows: int, context: int, features: int, device: torch.device) -> None:
        self.context, self.features = context, features
        self.scale = None
        self._windows, self._device = windows, device

    def __len__(self) -> int:
        return self._windows

    def batch(self, indices: Tensor, *, out: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Like that of `WindowSource`, with values that nobody looks at."""
        size = len(indices)
        x = torch.zeros((size, self.context, self.features), device=self._device) if out is None else out[:size]
        return x, torch.zeros(size, device=self._device)


def trace_step(build: Callable[[], TrainingLoop], *, evaluate: int) -> Trace:
    """The trace of one optimizer step after the first, and of evaluating `evaluate` windows at once.

    `build` is called on fake tensors and returns a trainer whose effective batch is one micro-batch, or two where
    gradients are accumulated. What the trainer does, it does here: precision, loss, clipping, checkpointing.
    """
    from torch._subclasses.fake_tensor import FakeTensorMode

    mode: Any = FakeTensorMode()
    # Who copies a fake layer, as torch.nn.TransformerEncoder does, would copy the mode that its tensors refer to.
    mode.__deepcopy__ = lambda memo: mode
    with mode, LiveStorages() as live:
        trainer = build()
        trainer.optimizer_step()  # the optimizer makes its state in its first step
        live.begin()
        trainer.optimizer_step()
        live.evaluates()
        with torch.inference_mode():
            trainer.module.eval()
            x_BTF, _ = trainer.validation.batch(torch.zeros(evaluate, dtype=torch.int64, device=trainer.device))
            trainer.module(x_BTF).float()  # not as the policy says: evaluations are in float32
        trace: Trace = live.trace()
        return trace


class LiveStorages(TorchDispatchMode):
    """Follows all storages: which operation makes them, and which is the first after their end."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bytes = 0
        """Of all that are alive."""
        self._known: dict[int, int] = {}
        """Number of the storage by address, which is used again after its end."""
        self._alive: dict[int, int] = {}
        """Bytes of the storage by number."""
        self._count = 0
        self.begin()

    def begin(self) -> None:
        """Forget the operations so far; what is alive stays."""
        self._before = dict(self._alive)
        self._ended: list[int] = []
        self._phases: list[tuple[bool, bool, list[Operation]]] = []
        self._evaluation = False
        self._peak = self.bytes

    def evaluates(self) -> None:
        """From here on operations belong to an evaluation."""
        self._evaluation = True

    def trace(self) -> Trace:
        """What happened since `begin`."""
        phases = [
            Phase(backward=backward, evaluation=evaluation, operations=operations)
            for backward, evaluation, operations in self._phases
        ]
        return Trace(phases=phases, resident=sum(self._before.values()), peak=self._peak)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten._local_scalar_dense.default:
            # Whoever reads a number of a tensor (is the loss finite?) is told one: nobody decides by it here.
            return 1.0 if args[0].is_floating_point() else 1
        if func is torch.ops.aten.equal.default:
            return True
        result = func(*args, **(kwargs or {}))
        storages = [item.untyped_storage() for item in tree_iter(result) if isinstance(item, Tensor)]
        new = [number for one in storages if (number := self._follow(one)) is not None]
        made = [(number, self._alive[number]) for number in new if self._alive[number] >= FOLLOWED_FROM]
        del storages
        # Recomputation for checkpointing is part of the backward pass: it runs inside of one of its nodes.
        kind = (torch._C._current_autograd_node() is not None, self._evaluation)
        if not self._phases or self._phases[-1][:2] != kind:
            self._phases.append((*kind, []))
        self._peak = max(self._peak, self.bytes)
        if made or self._ended:
            ended, self._ended = self._ended, []
            self._phases[-1][2].append(Operation(name=str(func), made=made, ended=ended, live=self.bytes))
        return result

    def _follow(self, storage: torch.UntypedStorage) -> int | None:
        """The number of a storage that was not known."""
        address = storage._cdata
        if address in self._known:
            return None
        self._count += 1
        self._known[address] = self._count
        self._alive[self._count] = storage.nbytes()
        self.bytes += storage.nbytes()
        weakref.finalize(storage, self._forget, address, self._count)
        return self._count

    def _forget(self, address: int, number: int) -> None:
        self._known.pop(address, None)
        size = self._alive.pop(number)
        self.bytes -= size
        gradient = self._before.pop(number, None) is not None  # of the step before
        if not gradient and size >= FOLLOWED_FROM:
            self._ended.append(number)
