"""Measures the memory of the tensors of one training step without allocating any.

The real training loop runs steps on fake tensors: torch's `FakeTensorMode` computes shapes without values. Every
storage is followed through forward pass, backward pass and optimizer, and the largest sum of their sizes is the peak.
Deep models are not traced: equal blocks run equal operations, so traces of two small depths determine the trace of any
depth (`scalecore_torch.memory.storages`).
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
"""Bytes of the smallest storages that are followed individually; smaller ones only count in sums."""


class FakeWindows:
    """Replaces a `WindowSource` in a trace without data: batches of the right shape."""

    def __init__(self, *, windows: int, context: int, features: int, device: torch.device) -> None:
        self.context, self.features = context, features
        self.scale = None
        self._windows, self._device = windows, device

    def __len__(self) -> int:
        return self._windows

    def batch(self, indices: Tensor, *, out: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Like `WindowSource.batch`, with arbitrary values."""
        size = len(indices)
        x = torch.zeros((size, self.context, self.features), device=self._device) if out is None else out[:size]
        return x, torch.zeros(size, device=self._device)


def trace_step(build: Callable[[], TrainingLoop], *, evaluate: int) -> Trace:
    """Trace the optimizer step after the first one, and the evaluation of `evaluate` windows at once.

    `build` is called on fake tensors and returns a training loop with an effective batch of one micro-batch, or two
    with gradient accumulation. The trace includes everything that the loop does: precision, loss, clipping,
    checkpointing.
    """
    from torch._subclasses.fake_tensor import FakeTensorMode

    mode: Any = FakeTensorMode()
    # Copying a fake layer, as torch.nn.TransformerEncoder does, would copy the mode that its tensors refer to.
    mode.__deepcopy__ = lambda memo: mode
    with mode, LiveStorages() as live:
        trainer = build()
        trainer.optimizer_step()  # the optimizer creates its state in its first step
        live.begin()
        trainer.optimizer_step()
        live.evaluates()
        with torch.inference_mode():
            trainer.module.eval()
            x_BTF, _ = trainer.validation.batch(torch.zeros(evaluate, dtype=torch.int64, device=trainer.device))
            trainer.module(x_BTF).float()  # not in the policy's precision: evaluations are in float32
        trace: Trace = live.trace()
        return trace


class LiveStorages(TorchDispatchMode):
    """Follows all storages: the operation that allocates each, and the first one after it is freed."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bytes = 0
        """Bytes of all live storages."""
        self._known: dict[int, int] = {}
        """Number of the storage by address; addresses are reused."""
        self._alive: dict[int, int] = {}
        """Bytes of each live storage by number."""
        self._count = 0
        self.begin()

    def begin(self) -> None:
        """Forget the operations so far, but not the live storages."""
        self._before = dict(self._alive)
        self._ended: list[int] = []
        self._phases: list[tuple[bool, bool, list[Operation]]] = []
        self._evaluation = False
        self._peak = self.bytes

    def evaluates(self) -> None:
        """Mark the following operations as an evaluation."""
        self._evaluation = True

    def trace(self) -> Trace:
        """The trace since `begin`."""
        phases = [
            Phase(backward=backward, evaluation=evaluation, operations=operations)
            for backward, evaluation, operations in self._phases
        ]
        return Trace(phases=phases, resident=sum(self._before.values()), peak=self._peak)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten._local_scalar_dense.default:
            # Reading a value of a tensor (is the loss finite?) returns 1: no decision depends on it here.
            return 1.0 if args[0].is_floating_point() else 1
        if func is torch.ops.aten.equal.default:
            return True
        result = func(*args, **(kwargs or {}))
        storages = [item.untyped_storage() for item in tree_iter(result) if isinstance(item, Tensor)]
        new = [number for one in storages if (number := self._follow(one)) is not None]
        made = [(number, self._alive[number]) for number in new if self._alive[number] >= FOLLOWED_FROM]
        del storages
        # Recomputation for activation checkpointing belongs to the backward pass: it runs inside one of its nodes.
        kind = (torch._C._current_autograd_node() is not None, self._evaluation)
        if not self._phases or self._phases[-1][:2] != kind:
            self._phases.append((*kind, []))
        self._peak = max(self._peak, self.bytes)
        if made or self._ended:
            ended, self._ended = self._ended, []
            self._phases[-1][2].append(Operation(name=str(func), made=made, ended=ended, live=self.bytes))
        return result

    def _follow(self, storage: torch.UntypedStorage) -> int | None:
        """The number of a new storage; None for a known one."""
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
        gradient = self._before.pop(number, None) is not None  # of the previous step
        if not gradient and size >= FOLLOWED_FROM:
            self._ended.append(number)
