"""Evaluations and clocks of the real trainer on a simulated GPU."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Literal
from unittest.mock import patch

import pytest
import torch
from attrs import evolve

from scalecore_torch.training import inference

from .counting import fake_cuda
from .training import trainer

SMALL: Mapping[str, Any] = {"task": "forecast", "layers": 1, "effective_batch": 64, "micro_batch": 64}
"""The metrics of classes sort scores, which fake tensors lack."""


def fetched(*, fetched_from: int | None = None) -> list[list[tuple[int, ...]]]:
    """Shapes of the tensors that two evaluations of 1,000 windows in two batches copy to the host."""
    shapes: list[tuple[int, ...]] = []
    copy = torch.Tensor.cpu

    def watched(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.device.type == "cuda":
            shapes.append(tuple(tensor.shape))
        return copy(tensor)

    found = []
    with fake_cuda(), patch.object(inference, "FETCHED_FROM", fetched_from or inference.FETCHED_FROM):
        made = trainer(**SMALL)
        with patch.object(torch.Tensor, "cpu", watched):
            for _ in range(2):
                made.evaluate(made.validation)
                found.append(shapes[:])
                shapes.clear()
    return found


def precisions() -> list[str]:
    """The precision of float32 products in a step, in evaluations of three policies, and in the step afterwards."""
    found: list[str] = []
    with fake_cuda():
        made = trainer(**SMALL)
        made.module.register_forward_pre_hook(lambda *_: found.append(torch.get_float32_matmul_precision()))
        made.optimizer_step()
        for evaluation in ("fp32", "tf32", "fp32"):
            made.policy = evolve(made.policy, evaluation=evaluation)
            made.evaluate(made.validation, limit=10)
        made.optimizer_step()
    return found


class Watcher:
    def step(self, *, epoch: int, step: int, phase: str) -> Literal["go_on", "stop", "prune"]:
        return "go_on"

    def epoch(self, line: Mapping[str, Any]) -> None: ...

    def checkpoint(self, state: dict[str, Any]) -> None: ...


def seconds(*, queued: float, epochs: int) -> tuple[list[float], int]:
    """`train_seconds` of each epoch with this many seconds of queued work, and the number of waits."""
    waits = 0

    def wait(device: torch.device) -> None:
        nonlocal waits
        waits += 1
        clock[0] += queued

    clock = [0.0]
    with fake_cuda():
        made = trainer(**SMALL)
        made.epochs = epochs
        with patch.object(torch.cuda, "synchronize", wait), patch.object(time, "monotonic", lambda: clock[0]):
            assert made.run(Watcher()) == "completed"
    return [line["train_seconds"] for line in made.progress.curve], waits


def test_an_evaluation_waits_once(on_cuda: Callable[..., Any]) -> None:
    """It waits for all logits together; the first evaluation also fetches the labels."""
    assert on_cuda(fetched) == [[(1000, 1), (1000,)], [(1000, 1)]]


def test_logits_on_the_device_are_bounded(on_cuda: Callable[..., Any]) -> None:
    """Many logits are fetched in parts."""
    assert on_cuda(fetched, fetched_from=1)[1] == [(512, 1), (488, 1)]


def test_only_evaluations_use_tf32(on_cuda: Callable[..., Any]) -> None:
    """The policy selects it; steps before and after do not use it."""
    assert on_cuda(precisions) == ["highest", "highest", "high", "highest", "highest"]


@pytest.mark.parametrize("epochs", [1, 3])
def test_the_seconds_of_an_epoch_include_queued_work(on_cuda: Callable[..., Any], epochs: int) -> None:
    """Once an epoch, the trainer waits for the device before it reads the clock."""
    assert on_cuda(seconds, queued=2.5, epochs=epochs) == ([2.5] * epochs, epochs)
