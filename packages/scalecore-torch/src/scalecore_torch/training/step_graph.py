"""Captures the step of a full batch as two CUDA graphs: the gradients, and the optimizer's update.

A graph replays its kernels on the memory of their capture, so that the host launches two graphs instead of many
kernels. Values that change from step to step are in fixed tensors: the windows, and the learning rate, which AdamW then
reads in float32. Random draws of a replay advance the GPU's generator as in an eager step.

A replay does not repeat a model's actions on the host. The first captured step is therefore compared with the same step
in eager mode, and a model that draws random numbers on the host, or changes attributes of its modules, is not captured.
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
"""Eager steps before the capture: the optimizer, cuBLAS and losses allocate persistent memory at first use."""
TOLERANCE = 1e-3
"""Largest relative difference of loss and gradient norm between the first replay and the eager step: another order of
summation differs less, other random numbers for dropout differ more."""


class Replay(Protocol):
    """The interface of `torch.cuda.CUDAGraph`."""

    def replay(self) -> None: ...


class StepGraph:
    """Captures and replays the steps of full batches. `problem` is the reason why they are not captured."""

    def __init__(
        self,
        *,
        module: nn.Module,
        optimizer: torch.optim.Optimizer,
        gradients: Callable[[Tensor], None],
        sums: Sequence[Tensor],
        batch: int,
    ) -> None:
        """`gradients` computes the gradients of the windows [batch], and adds loss, gradient norm and others to `sums`,
        on the device of the module; the addresses of its parameters are fixed.
        """
        self.problem: str | None = None
        self._module, self._sums = module, sums
        device = sums[0].device
        self.rate = torch.zeros((), device=device)
        """The learning rate of `optimizer`; set it before each step."""
        self._windows_B = torch.zeros(batch, dtype=torch.int64, device=device)
        self._passes, self._update = partial(gradients, self._windows_B), optimizer.step
        self._seen = 0
        self._graphs: tuple[Replay, Replay] | None = None
        for group in optimizer.param_groups:
            group["lr"], group["capturable"] = self.rate, True

    def step(self, windows_B: Tensor) -> bool:
        """Run the step of these windows; False if the caller must run it in eager mode."""
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
        """Run all further steps in eager mode. Returns whether that frees memory."""
        held, self._graphs, self.problem = self._graphs is not None, None, self.problem or problem
        return held

    def _captured(self) -> tuple[Replay, Replay] | None:
        """Both graphs, after one replay of the first; None if they would not reproduce the step."""
        self._module.train()  # an evaluation may have changed the mode
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
            # If the error is unrelated to the capture, the eager step raises it again.
            self.give_up(_error_text(error))
        else:
            return graphs
        undo()
        restore_other_random_state(others)
        return None

    def _read(self) -> list[float]:
        return [float(one) for one in self._sums]


def _error_text(error: BaseException) -> str:
    """The first line of the error, or of the original error if ending a failed capture failed too."""
    while error.__context__ is not None:
        error = error.__context__
    return str(error).partition("\n")[0][:200] or type(error).__name__


def _capture(function: Callable[[], object], *, after: Any) -> Any:
    """A graph of the kernels that `function` launches, in the memory pool of the graph replayed before it."""
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
    """In a capture torch sets the state without effect: recomputation would then drop other activations."""
    raise ValueError("it sets the state of the GPU's generator, as recomputed activations do")


def _of_host(module: nn.Module) -> list[tuple[str, Any]]:
    """The state outside tensors that a pass may change: attributes, and the state of generators."""
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
    """The first change; tensors are compared by identity."""
    if len(before) != len(after):
        return "adds attributes to a module"
    for (what, one), (_, other) in zip(before, after, strict=True):
        same = one is other if isinstance(one, Tensor) or isinstance(other, Tensor) else one == other
        if not same:
            return what
    return None
