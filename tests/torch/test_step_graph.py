"""Captured steps without the capture, which needs CUDA (`tests/cuda/test_graph.py`); here a replay is a call."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from attrs import evolve
from torch import nn

from scalecore_torch.training import step_graph, training_loop
from scalecore_torch.training.optimizer import learning_rate_at
from scalecore_torch.training.policies import Policy
from scalecore_torch.training.training_loop import TrainingLoop

from .conftest import Net

Build = Callable[..., TrainingLoop]
GRAPH = Policy(launches="graph", why={})


class Called:
    """A replay that calls the captured function."""

    def __init__(self, function: Callable[[], object], *, after: Any) -> None:
        self.function, self.count = function, 0

    def replay(self) -> None:
        self.count += 1
        self.function()


@pytest.fixture
def replays(monkeypatch: pytest.MonkeyPatch) -> list[Called]:
    """The captured functions: gradients and update of each training loop in order."""
    made: list[Called] = []

    def capture(function: Callable[[], object], *, after: Any) -> Called:
        made.append(Called(function, after=after))
        return made[-1]

    monkeypatch.setattr(step_graph, "_capture", capture)
    return made


def trained(made: TrainingLoop, policy: Policy, *, epochs: int = 2) -> Mapping[str, Any]:
    """The state after `epochs` epochs, without evaluations."""
    made.policy = policy
    for _ in range(epochs):
        made.progress.step = 0
        for _ in range(made.steps_per_epoch):
            made.optimizer_step()
        made.progress.epoch += 1
    return made.state()


def same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether weights, moments and sums are bitwise equal."""
    moments = [
        (a[name], b[name])
        for a, b in zip(one["optimizer"]["state"].values(), other["optimizer"]["state"].values(), strict=True)
        for name in ("exp_avg", "exp_avg_sq", "step")
    ]
    weights = [(value, other["module"][name]) for name, value in one["module"].items()]
    return one["progress"] == other["progress"] and all(torch.equal(a, b) for a, b in [*weights, *moments])


def in_float32(*args: Any, **kwargs: Any) -> float:
    return float(np.float32(learning_rate_at(*args, **kwargs)))


class Normalised(Net):
    """A model with batch statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.layers.insert(3, nn.BatchNorm1d(16))


@pytest.mark.parametrize("make", [Net, Normalised])
@pytest.mark.parametrize("micro_batch", [64, 24])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_captured_steps_equal_steps_with_a_float32_rate(
    trainer_of: Build,
    replays: list[Called],
    monkeypatch: pytest.MonkeyPatch,
    make: Any,
    micro_batch: int,
    precision: Any,
) -> None:
    """They are bitwise equal, with dropout, micro-batches, short last batches, a schedule and clipping."""
    plain = Policy(precision=precision, why={})
    with monkeypatch.context() as patched:
        patched.setattr(training_loop, "learning_rate_at", in_float32)
        torch.manual_seed(1)
        expected = trained(trainer_of(make(), micro_batch=micro_batch), plain)
    torch.manual_seed(1)
    made = trainer_of(make(), micro_batch=micro_batch)
    found = trained(made, evolve(plain, launches="graph"))
    assert same(found, expected)
    full = 2 * (len(made.train) // made.plan.effective_batch)
    assert [one.count for one in replays] == 2 * [full - step_graph.WARM_UP]
    assert made.graph is not None
    assert made.graph.problem is None


def test_rounding_the_rate_changes_last_digits_only(trainer_of: Build, replays: list[Called]) -> None:
    """Rates of `plain` are float64; the epoch reports the unrounded rate."""
    torch.manual_seed(1)
    expected = trained(trainer_of(), Policy(why={}))
    torch.manual_seed(1)
    made = trainer_of()
    found = trained(made, GRAPH)
    assert not same(found, expected)
    for name, value in found["module"].items():
        torch.testing.assert_close(value, expected["module"][name], rtol=1e-4, atol=1e-5)
    assert made._end_epoch()["learning_rate"] == in_float64(made)


def in_float64(made: TrainingLoop) -> float:
    done = made.progress.total_steps - 1
    total = made.epochs * made.steps_per_epoch
    return learning_rate_at(done, peak=1e-2, schedule="cosine", warmup_steps=3, total_steps=total)


def test_a_resumed_training_with_captured_steps_equals_the_uninterrupted_one(
    trainer_of: Build, replays: list[Called]
) -> None:
    """Eager steps before the second capture are replays in the uninterrupted training."""
    torch.manual_seed(1)
    whole = trained(trainer_of(), GRAPH)
    torch.manual_seed(1)
    first = trainer_of()
    first.policy = GRAPH
    for _ in range(5):
        first.optimizer_step()
    assert replays[2].count == 5 - step_graph.WARM_UP
    state = first.state()
    second = trainer_of()
    second.policy = GRAPH
    second.restore(state)
    for _ in range(second.steps_per_epoch - 5):
        second.optimizer_step()
    second.progress.epoch, second.progress.step = 2, 0
    assert same(trained(second, GRAPH, epochs=1), whole)


class Host(Net):
    """A model that acts on the host in each forward pass."""

    def __init__(self, *, does: str) -> None:
        super().__init__()
        self.does, self.calls = does, 0
        self.register_buffer("mean", torch.zeros(1))

    def forward(self, x_BTF: torch.Tensor) -> torch.Tensor:
        logits = super().forward(x_BTF)
        if self.does == "counts":
            self.calls += 1
        elif self.does == "replaces":
            self.mean = 0.9 * self.mean + 0.1 * logits.detach().mean()
        elif self.does == "remembers":
            self.seen = logits.detach()
        elif self.does == "draws":
            logits = logits * (1 + random.random() / 10)
        elif self.does == "draws by numpy":
            logits = logits * (1 + np.random.random() / 10)
        return logits


@pytest.mark.parametrize(
    ("does", "what"),
    [
        ("counts", "changes 'calls' of Host"),
        ("replaces", "changes 'mean' of Host"),
        ("remembers", "changes 'seen' of Host"),
        ("draws", "draws random numbers"),
        ("draws by numpy", "draws random numbers"),
    ],
)
def test_actions_that_a_replay_would_not_repeat_are_not_captured(
    trainer_of: Build, replays: list[Called], does: str, what: str
) -> None:
    """All steps then run in eager mode, the record contains the reason, and the attempt changes no random numbers."""
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    made = trainer_of(Host(does=does))
    found = trained(made, GRAPH)
    assert made.graph is not None
    assert made.graph.problem == f"a forward pass {what} on the host, which a replay would not"
    assert replays == []
    if does != "replaces":  # its pass cannot be undone
        random.seed(1)
        np.random.seed(1)
        assert same(found, launched(trainer_of, lambda: Host(does=does)))


def launched(trainer_of: Build, make: Callable[[], nn.Module] = Net) -> Mapping[str, Any]:
    """The state of a training without captured steps."""
    torch.manual_seed(1)
    made = trainer_of(make())
    made.policy = GRAPH
    made._set_rate(0.0)
    assert made.graph is not None
    made.graph.give_up("not tried")
    return trained(made, GRAPH)


def test_after_a_failed_capture_steps_run_in_eager_mode(trainer_of: Build) -> None:
    """Here torch has no GPU for a capture; the training loses nothing."""
    torch.manual_seed(1)
    made = trainer_of(Net())
    found = trained(made, GRAPH)
    assert made.graph is not None
    assert made.graph.problem is not None
    assert same(found, launched(trainer_of))


@pytest.mark.parametrize("wrong", ["loss", "gradient norm"])
def test_a_replay_that_differs_from_the_step_is_detected(
    trainer_of: Build, monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    """It is detected before it changes a weight: this step and all others run in eager mode."""
    torch.manual_seed(1)
    made = trainer_of(Net())

    class Wrong(Called):
        def replay(self) -> None:
            super().replay()
            (made._loss_sum if wrong == "loss" else made._norm_sum).add_(1.0)

    monkeypatch.setattr(step_graph, "_capture", Wrong)
    found = trained(made, GRAPH)
    assert made.graph is not None
    assert (made.graph.problem or "").startswith(f"its {wrong} is ")
    assert same(found, launched(trainer_of))


def test_captured_steps_are_dropped_if_memory_runs_out(
    trainer_of: Build, replays: list[Called], monkeypatch: pytest.MonkeyPatch
) -> None:
    """For example in the short last batch: freeing them may be enough, so the micro-batch stays at first."""
    torch.manual_seed(1)
    made = trainer_of()
    passes, failed = made._passes, []

    def scarce(indices_B: torch.Tensor) -> None:
        if len(indices_B) < 64 and len(failed) < 2:
            failed.append(len(indices_B))
            raise torch.OutOfMemoryError("no memory left")
        passes(indices_B)

    monkeypatch.setattr(made, "_passes", scarce)
    trained(made, GRAPH)
    assert made.graph is not None
    assert made.graph.problem == "memory ran out: no memory left"
    assert (len(replays), len(failed)) == (2, 2)
    assert [one["to"] for one in made.progress.halvings] == [failed[0] // 2]
    again = trainer_of()
    again.policy = GRAPH
    again.restore(made.state())
    again.progress.step = 0
    again.optimizer_step()
    assert again.graph is not None
    assert again.graph.problem == "memory ran out in an earlier step"
