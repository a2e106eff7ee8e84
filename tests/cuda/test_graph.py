"""Captured steps: torch captures the trainer's step on a simulated GPU whose kernels do nothing."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import pytest
import torch
from attrs import evolve, frozen

from scalecore_torch.training import step_graph
from scalecore_torch.training.step_graph import WARM_UP
from scalecore_torch.training.training_loop import TrainingLoop

from .training import trainer

OnCuda = Callable[..., Any]


@frozen
class Asked:
    """Calls of the runtime."""

    kernels: list[int]
    """Addresses of launched or captured kernels, in order."""
    replays: int
    mallocs: int
    waits: int


def asked(function: Callable[[], object]) -> Asked:
    """Run `function` and return its calls of the stub."""
    stub = ctypes.CDLL(None)
    stub.stub_launched.restype = ctypes.POINTER(ctypes.c_void_p)
    names = ("launches", "replays", "mallocs", "waits")
    before = [getattr(stub, f"stub_{name}")() for name in names]
    function()
    launches, *others = (getattr(stub, f"stub_{name}")() for name in names)
    kernels = [stub.stub_launched()[at] or 0 for at in range(before[0], launches)]
    return Asked(kernels, *(now - then for now, then in zip(others, before[1:], strict=True)))


def of_graph(**settings: Any) -> TrainingLoop:
    """A trainer that captures its steps."""
    torch.backends.cuda.enable_cudnn_sdp(False)  # the stub has no cuDNN
    made = trainer(layers=2, **{"steps": 12, **settings})
    made.policy = evolve(made.policy, launches="graph")
    return made


def second(*, launches: str) -> Asked:
    """The calls of the second step."""
    made = of_graph(micro_batch=64)
    made.policy = evolve(made.policy, launches=launches)
    made.optimizer_step()
    return asked(made.optimizer_step)


def test_a_step_before_the_capture_equals_the_plain_one(on_idle_cuda: OnCuda) -> None:
    """It has one more kernel, which sets the learning rate."""
    plain, graph = (on_idle_cuda(second, launches=one) for one in ("plain", "graph"))
    assert graph.kernels[1:] == plain.kernels
    assert graph.waits == plain.waits == 0


def steps(count: int, **settings: Any) -> tuple[list[Asked], list[Asked], str | None]:
    """The calls of this many steps, the captured graph, and the reason if there is none."""
    made, captures = of_graph(**settings), []
    capture = step_graph._capture

    def watched(function: Callable[[], object], *, after: Any) -> Any:
        return capture(lambda: captures.append(asked(function)), after=after)

    step_graph._capture = watched
    found = [asked(made.optimizer_step) for _ in range(count)]
    assert made.graph is not None
    return found, captures, made.graph.problem


@pytest.mark.parametrize(("precision", "micro_batch"), [("fp32", 64), ("bf16", 256)])
def test_the_captured_step_equals_the_launched_one(on_idle_cuda: OnCuda, precision: str, micro_batch: int) -> None:
    """Its kernels and their order equal those of a step before; a replay allocates no memory and does not wait."""
    found, captures, problem = on_idle_cuda(steps, WARM_UP + 4, precision=precision, micro_batch=micro_batch)
    assert problem is None
    first, *others = found[WARM_UP - 1].kernels  # which sets the learning rate
    gradients, update = captures
    assert [*gradients.kernels, *update.kernels] == others
    assert (gradients.waits, update.waits) == (1, 0)  # torch's generator, for its stream
    for replayed in found[WARM_UP + 1 :]:
        assert (replayed.replays, replayed.mallocs, replayed.waits) == (2, 0, 0)
        # The other one sets the generator's offset, once for each graph.
        assert replayed.kernels == [first, *2 * replayed.kernels[1:2]]


def states(*, launches: str, count: int) -> bytes:
    """The state of the GPU's generator after this many steps with dropout."""
    made = of_graph()
    made.policy = evolve(made.policy, launches=launches)
    for _ in range(count):
        made.optimizer_step()
    assert (made.graph is None) == (launches == "plain")
    return torch.cuda.get_rng_state().numpy().tobytes()


def test_replays_draw_as_many_random_numbers(on_idle_cuda: OnCuda) -> None:
    """A resumed training draws the same numbers as an uninterrupted one."""
    graph, plain = (on_idle_cuda(states, launches=one, count=WARM_UP + 5) for one in ("graph", "plain"))
    assert graph == plain != on_idle_cuda(states, launches="plain", count=1)


def reading() -> tuple[str | None, list[Asked], list[dict[str, Any]]]:
    """Three steps after the warm-up with a loss that reads its value, which no capture allows."""
    made = of_graph()
    total = made.task.training.total

    def reads(logits_MC: torch.Tensor, y_M: torch.Tensor) -> torch.Tensor:
        loss = total(logits_MC, y_M)
        assert loss.item() == 0
        return loss

    made.task = evolve(made.task, training=evolve(made.task.training, total=reads))
    found = [asked(made.optimizer_step) for _ in range(WARM_UP + 3)]
    assert made.graph is not None
    return made.graph.problem, found, made.progress.halvings


def test_a_step_that_cannot_be_captured_is_launched(on_idle_cuda: OnCuda) -> None:
    """All its steps are launched, with dropout; the record has torch's reason."""
    problem, found, halvings = on_idle_cuda(reading)
    assert problem == "CUDA error: operation not permitted when stream is capturing"
    assert [one.replays for one in found] == [0] * len(found)
    assert found[-1] == found[-2] == evolve(found[1], mallocs=0)
    assert halvings == []


def recomputed() -> str | None:
    """The reason why steps with activation checkpointing are not captured."""
    made = of_graph(checkpointing=True)
    for _ in range(WARM_UP + 2):
        made.optimizer_step()
    assert made.graph is not None
    return made.graph.problem


def test_recomputed_activations_are_not_captured(on_idle_cuda: OnCuda) -> None:
    """torch would capture them, but their dropout would differ from that of the forward pass."""
    assert on_idle_cuda(recomputed) == "it sets the state of the GPU's generator, as recomputed activations do"


def short() -> tuple[list[int], str | None]:
    """The replays of each step in an epoch with a short last batch."""
    made = of_graph(steps=6)
    made.train._ends = made.train._ends[:-1]
    made.train._starts = made.train._starts[:-1]
    return [asked(made.optimizer_step).replays for _ in range(made.steps_per_epoch)], made.graph and made.graph.problem


def test_a_short_last_batch_is_launched(on_idle_cuda: OnCuda) -> None:
    """The other steps are replays."""
    assert on_idle_cuda(short) == ([0, 0, 0, 2, 2, 0], None)
