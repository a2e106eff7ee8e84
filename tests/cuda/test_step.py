"""Steps of the real trainer on a GPU that is not there: what they ask of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from attrs import evolve

from .counting import Counts, counting, fake_cuda
from .training import trainer


def steps(**settings: Any) -> Counts:
    """What the second step of a trainer asks for: in the first the optimizer makes its state."""
    with fake_cuda():
        made = trainer(**settings)
        made.optimizer_step()
        with counting() as counts:
            made.optimizer_step()
    return counts


def impatient_steps(**settings: Any) -> Counts:
    """The same where the training loss reads its own value in each step."""
    with fake_cuda():
        made = trainer(**settings)
        total = made.task.training.total

        def waits(logits_MC: Any, y_M: Any) -> Any:
            loss = total(logits_MC, y_M)
            assert loss.item() > 0
            return loss

        made.task = evolve(made.task, training=evolve(made.task.training, total=waits))
        made.optimizer_step()
        with counting() as counts:
            made.optimizer_step()
    return counts


@pytest.mark.parametrize(
    ("precision", "budget"),
    [
        ("bf16", {"product": 12, "attention": 2, "element-wise": 21, "cast": 22}),
        ("fp32", {"product": 12, "attention": 2, "element-wise": 21}),
    ],
)
def test_a_layer_has_its_budget_of_kernels(on_cuda: Callable[..., Any], precision: str, budget: dict[str, int]) -> None:
    """Two layers more need just so many kernels more, forward, backward and update together."""
    shallow = on_cuda(steps, precision=precision, layers=2)
    deep = on_cuda(steps, precision=precision, layers=4)
    more = {kind: count - shallow.kernels[kind] for kind, count in deep.kernels.items()}
    assert {kind: count / 2 for kind, count in more.items() if count} == budget


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_no_step_waits_for_the_gpu(on_cuda: Callable[..., Any], precision: str) -> None:
    """Neither for a number of a tensor nor for a copy."""
    assert on_cuda(steps, precision=precision, layers=2).waits == []


def test_a_loss_that_reads_its_value_is_found(on_cuda: Callable[..., Any]) -> None:
    """Otherwise the test above could not fail."""
    (found,) = on_cuda(impatient_steps, layers=2).waits
    assert found.startswith("_local_scalar_dense: ")
    assert "test_step.py" in found
