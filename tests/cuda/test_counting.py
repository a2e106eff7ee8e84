"""The counting detects waits, kernels and errors, on which the tests of steps depend."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from attrs import evolve

from .counting import Counts, counted, counting, fake_cuda
from .training import trainer

OnCuda = Callable[..., Any]


def item(x: torch.Tensor) -> object:
    return x.sum().item()


def condition(x: torch.Tensor) -> object:
    return "large" if x.max() > 3 else "small"


def listed(x: torch.Tensor) -> object:
    return x[0].tolist()


def to_host(x: torch.Tensor) -> object:
    return x.cpu()


def to_device(x: torch.Tensor) -> object:
    return x[0] + torch.ones(4).to("cuda")


def constant(x: torch.Tensor) -> object:
    return x + torch.tensor([1.0, 2.0, 3.0, 4.0], device="cuda")


def masked(x: torch.Tensor) -> object:
    x[x > 0] = 0.0
    return x


def synchronised(x: torch.Tensor) -> object:
    return torch.cuda.synchronize()


WAITING = (item, condition, listed, to_host, to_device, constant, masked, synchronised)


def waits_of_all() -> dict[str, list[list[str]]]:
    """The places where each of `WAITING` waits, in training and in evaluation."""

    def run(function: Callable[[torch.Tensor], object], *, inference: bool) -> None:
        x = torch.zeros(8, 4, device="cuda")
        with torch.inference_mode(inference):
            function(x)

    return {
        one.__name__: [counted(partial(run, one, inference=inference)).waits for inference in (False, True)]
        for one in WAITING
    }


def clean() -> Counts:
    def run() -> None:
        x, weight = torch.zeros(8, 4, device="cuda"), torch.zeros(4, 4, device="cuda", requires_grad=True)
        loss = (x @ weight).relu().sum() + torch.ones(4).to("cuda", non_blocking=True).sum()
        torch.autograd.backward(loss)

    return counted(run)


def impatient_step() -> Counts:
    """A step whose loss reads its own value."""
    with fake_cuda():
        made = trainer(layers=2)
        total = made.task.training.total

        def reads(logits_MC: torch.Tensor, y_M: torch.Tensor) -> torch.Tensor:
            loss = total(logits_MC, y_M)
            assert loss.item() > 0
            return loss

        made.task = evolve(made.task, training=evolve(made.task.training, total=reads))
        made.optimizer_step()
        with counting() as counts:
            made.optimizer_step()
    return counts


def mixed_devices() -> None:
    counted(lambda: torch.zeros(4, device="cuda") + torch.zeros(4))


def mixed_types() -> None:
    counted(lambda: torch.zeros(4, 4, device="cuda") @ torch.zeros(4, 4, device="cuda", dtype=torch.bfloat16))


def test_every_wait_is_found(on_cuda: OnCuda) -> None:
    """Every operation that makes the host wait for the device is counted, in training and in evaluation."""
    found = on_cuda(waits_of_all)
    assert list(found) == [one.__name__ for one in WAITING]
    assert [name for name, waits in found.items() if not all(waits)] == []


def test_operations_that_do_not_wait_are_not_counted(on_cuda: OnCuda) -> None:
    """Products, sums, their gradients and an asynchronous copy to the device are not counted."""
    counts = on_cuda(clean)
    assert counts.waits == []
    assert counts.kernels["product"] == 2
    assert counts.kernels["copy"] == 1


def test_a_loss_that_reads_its_value_is_found(on_cuda: OnCuda) -> None:
    """The wait has the line of the calling code."""
    (found,) = on_cuda(impatient_step).waits
    assert found.startswith("_local_scalar_dense: ")
    assert "test_counting.py:" in found


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (mixed_devices, "at least two devices, cuda:0 and cpu"),
        (mixed_types, "mm: expected tensors of the same dtype, got torch.bfloat16 and torch.float32"),
    ],
)
def test_operations_that_a_gpu_refuses_fail(on_cuda: OnCuda, function: Callable[..., object], message: str) -> None:
    """Operations on tensors of two devices or two types fail."""
    with pytest.raises(AssertionError, match=message):
        on_cuda(function)
