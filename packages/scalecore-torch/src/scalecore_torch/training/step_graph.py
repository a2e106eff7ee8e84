"""The step of a full batch as two CUDA graphs: its gradients, and the optimizer's update.

A graph replays its kernels on the memory where they were captured, so that the host launches two graphs and no kernels.
What differs from step to step lies in tensors that stay: the windows, and the learning rate, which AdamW then reads in
float32. The generator of the GPU counts what a replay draws as if each kernel had been launched.

A replay repeats nothing that a model does on the host. So the first captured step is compared with the same step as it
is written, and a model that draws random numbers on the host, or changes attributes of its modules, is not captured.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from scalecore_torch.training.generators import other_random_state, restore_other_random_state
from scalecore_torch.training.micro_batches import step_state, with_batch_statistics

WARM_UP = 3
"""Steps before the capture: the optimizer, cuBLAS and losses make what they keep when they are first used."""
TOLERANCE = 1e-3
"""How far loss and gradient norm of the first replay may be from those of the step as it is written, as a share: sums
of the same numbers in another order are nearer, other numbers for dropout are not."""


class Replay(Protocol):
    """What `torch.cuda.CUDAGraph` does."""

    def replay(self) -> None: ...


class StepGraph:
    """Makes the steps of full batches, once they are captured. `problem` says why they are not."""

    def __init__(
        self,
        *,
        module: nn.Module,
        optimizer: torch.optim.Optimizer,
        gradients: Callable[[Tensor], None],
        sums: Sequence[Tensor],
        batch: int,
    ) -> None:
        """`gradients` computes those of the windows [batch] from none, and adds loss, gradient norm and others to
        `sums`, on the device of the module; its parameters have their places in memory.
        """
        self.problem: str | None = None
        self._module, self._sums = module, sums
        device = sums[0].device
        self.rate = torch.zeros((), device=device)
        """The learning rate of `optimizer`, to be set before each step."""
        self._windows_B = torch.zeros(batch, dtype=torch.int64, device=device)
        self._passes, self._update = partial(gradients, self._windows_B), optimizer.step
        self._seen = 0
        self._graphs: tuple[Replay, Replay] | None = None
        for group in optimizer.param_groups:
            group["lr"], group["capturable"] = self.rate, True

    def step(self, windows_B: Tensor) -> bool:
        """Make the step of these windows; False where it must be launched as it is written."""
        if self.problem is not None or len(windows_B) != len(self._windows_B):
            return False
        if self._graphs is None:
            self._seen += 1
            if self._seen <= WARM_UP:
                return False
        self._windows_B.copy_(windows_B)
        if self._graphs is None:
            self._graphs = self._captured()
        else:
            self._graphs[0].replay()
        if self._graphs is None:
            return False
        self._graphs[1].replay()
        return True

    def give_up(self, problem: str) -> bool:
        """Launch all further steps as they are written; whether that frees memory."""
        held, self._graphs, self.problem = self._graphs is not None, None, self.problem or problem
        return held

    def _captured(self) -> tuple[Replay, Replay] | None:
        """Both graphs, the first of which has been replayed once; None where they would not be the step."""
        self._module.train()  # an evaluation may have come before
        undo = step_state(
            self._module, self._sums, self._sums[0].device, normalised=with_batch_statistics(self._module)
        )
        before, others, start = _of_host(self._module), other_random_state(), self._read()
        try:
            self._passes()
            expected = self._read()
            changed = _difference(before, _of_host(self._module))
            undo()
            if changed is not None:
                raise ValueError(f"a forward pass {changed} on the host, which a replay would not")
            first = _capture(self._passes, after=None)
            graphs = first, _capture(self._update, after=first)
            first.replay()
            for name, was, wanted, found in zip(("loss", "gradient norm"), start, expected, self._read(), strict=False):
                if not math.isclose(found - was, wanted - was, rel_tol=TOLERANCE):
                    raise ValueError(f"its {name} is {found - was:.6g} instead of {wanted - was:.6g}")
        except Exception as error:
            # Whatever it is: the step as it is written meets it again if it has nothing to do with the capture.
            self.give_up(_said(error))
        else:
            return graphs
        undo()
        restore_other_random_state(others)
        return None

    def _read(self) -> list[float]:
        return [float(one) for one in self._sums]


def _said(error: BaseException) -> str:
    """Its first line; that of the first where ending a failed capture failed too."""
    while error.__context__ is not None:
        error = error.__context__
    return str(error).partition("\n")[0][:200] or type(error).__name__


def _capture(function: Callable[[], object], *, after: Any) -> Any:
    """A graph of what `function` launches, in the memory of the one that is replayed before it."""
    graph = torch.cuda.CUDAGraph()
    set_state = torch.cuda.set_rng_state
    try:
        torch.cuda.set_rng_state = _refuse
        with torch.cuda.graph(graph, pool=None if after is None else after.pool()):
            function()
    finally:
        torch.cuda.set_rng_state = set_state
    return graph


def _refuse(*args: Any, **kwargs: Any) -> None:
    """In a capture torch sets the state without effect: other numbers would be dropped than those of the first time."""
    raise ValueError("it sets the state of the GPU's generator, as recomputed activations do")


def _of_host(module: nn.Module) -> list[tuple[str, Any]]:
    """What a pass may change that is not in the memory of tensors: attributes, and the state of generators."""
    attributes = [
        (f"changes {name!r} of {type(part).__name__}", value)
        for part in module.modules()
        for name, value in (*vars(part).items(), *part._buffers.items())
        if value is None or isinstance(value, Tensor | bool | int | float | str)
    ]
    numpy: Any = np.random.get_state()
    drawn = (random.getstate(), numpy[1].tobytes(), numpy[2])
    on_gpu = next(module.parameters()).device.type != "cpu"
    host = (torch.get_rng_state().numpy().tobytes() if on_gpu else b"", *drawn)
    return [*attributes, ("draws random numbers", host)]


def _difference(before: list[tuple[str, Any]], after: list[tuple[str, Any]]) -> str | None:
    """What changed first; tensors by which they are."""
    if len(before) != len(after):
        return "adds attributes to a module"
    for (what, one), (_, other) in zip(before, after, strict=True):
        same = one is other if isinstance(one, Tensor) or isinstance(other, Tensor) else one == other
        if not same:
            return what
    return None
