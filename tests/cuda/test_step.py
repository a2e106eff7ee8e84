"""Kernels and waits of the real trainer's steps on a simulated GPU.

The budgets are those of eager PatchTST: lower them when a step becomes cheaper.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._pytree import tree_map

from scalecore_torch.user_code import UserCode, UserPart

from .counting import Counts, counting, fake_cuda
from .training import trainer

OnCuda = Callable[..., Any]

LAYER = {"product": 12, "attention": 2, "element-wise": 21}
"""Kernels of a layer, forward and backward, in float32; the optimizer updates all layers at once."""
CASTS = 22
"""Casts in bfloat16: 16 of four weights and biases and their gradients, 6 of activations."""


def step(**settings: Any) -> Counts:
    """Count the second step of a trainer; in the first the optimizer creates its state."""
    with fake_cuda():
        made = trainer(**settings)
        made.optimizer_step()
        with counting() as counts:
            made.optimizer_step()
    return counts


def of_a_layer(on_cuda: OnCuda, **settings: Any) -> dict[str, float]:
    """Kernels of one layer by kind: half the difference of two more layers."""
    shallow, deep = (on_cuda(step, layers=layers, **settings) for layers in (2, 4))
    deep.kernels.subtract(shallow.kernels)
    return {kind: count / 2 for kind, count in deep.kernels.items() if count}


def waits_of_steps(count: int) -> list[int]:
    """The number of waits of the host in each step of an epoch."""
    waits = []
    with fake_cuda():
        made = trainer("2M", layers=1, steps=count)
        for _ in range(count):
            with counting() as counts:
                made.optimizer_step()
            waits.append(len(counts.waits))
    return waits


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_layer_keeps_its_budget_of_kernels(on_cuda: OnCuda, precision: str) -> None:
    """It has 57 in bfloat16 and 35 in float32, with dropout."""
    budget = LAYER if precision == "fp32" else {**LAYER, "cast": CASTS}
    assert of_a_layer(on_cuda, precision=precision) == budget


def test_weights_are_cast_once_for_all_micro_batches(on_cuda: OnCuda) -> None:
    """Four micro-batches launch four times the kernels of a step, and three additions for each of the twelve gradients
    of a layer; its four weights and biases are cast once."""
    budget = {kind: 4 * count for kind, count in {**LAYER, "cast": CASTS}.items()}
    budget["element-wise"] += 3 * 12
    budget["cast"] -= 3 * 8
    assert of_a_layer(on_cuda, precision="bf16", micro_batch=64) == budget


def test_recomputed_activations_repeat_the_forward_pass(on_cuda: OnCuda) -> None:
    """It has four more products and one more attention."""
    found = of_a_layer(on_cuda, precision="bf16", checkpointing=True)
    assert {kind: found[kind] for kind in ("product", "attention")} == {"product": 16, "attention": 3}


OWN = """
import torch
import torch.nn.functional as F


class Weighted(torch.nn.Module):
    tasks = ("binary",)

    def __init__(self):
        super().__init__()
        self.register_buffer("weight", torch.tensor(2.0))

    def forward(self, logits, labels):
        return self.weight * F.binary_cross_entropy_with_logits(logits[:, 0], labels, reduction="none")
"""


def own_step(file: str) -> Counts:
    """A step with another optimizer and a loss that has a buffer."""
    optimizer = UserPart(module="torch.optim", name="SGD", options={"momentum": 0.9, "foreach": True})
    return step(layers=2, own=UserCode(loss=UserPart(name="Weighted", file=file), optimizer=optimizer))


def test_a_users_loss_and_optimizer_run_on_the_gpu(on_cuda: OnCuda, tmp_path: Path) -> None:
    """Buffers are on the device of the logits, and nothing waits for the device."""
    file = tmp_path / "own.py"
    file.write_text(OWN)
    counts = on_cuda(own_step, file=str(file))
    assert not counts.waits
    assert counts.kernels["product"] > 0


@pytest.mark.parametrize("task", ["binary", "multiclass", "forecast"])
@pytest.mark.parametrize(("precision", "checkpointing"), [("fp32", False), ("bf16", False), ("bf16", True)])
def test_no_step_waits_for_the_gpu(on_cuda: OnCuda, task: str, precision: str, checkpointing: bool) -> None:
    """It waits neither for a value nor for a copy, with micro-batches, dropout and clipping."""
    settings = {"task": task, "precision": precision, "checkpointing": checkpointing, "micro_batch": 128}
    assert on_cuda(step, layers=2, **settings).waits == []


@pytest.mark.parametrize(("shape", "layers"), [("2M", 48), ("20M", 24), ("200M", 28)])
def test_a_whole_step_keeps_its_budget_of_kernels(on_cuda: OnCuda, shape: str, layers: int) -> None:
    """Besides the layers it has some fifty kernels for any size, and nothing waits."""
    counts = on_cuda(step, shape=shape, precision="bf16")
    counts.kernels.subtract(Counter({kind: layers * count for kind, count in {**LAYER, "cast": CASTS}.items()}))
    assert counts.kernels.pop("optimizer") >= 2
    assert dict(counts.kernels) == {"product": 5, "attention": 0, "element-wise": 39, "cast": 14}
    assert counts.waits == []


def test_the_host_waits_once_in_32_steps(on_cuda: OnCuda) -> None:
    """It checks that the loss is finite; the first step of an epoch also waits for the order of the windows."""
    assert on_cuda(waits_of_steps, 33) == [1] + 30 * [0] + [1, 0]


class World:
    """Receives the reports of a trainer and stops it at a step."""

    def __init__(self, *, stop_at: int | None = None) -> None:
        self.stop_at = stop_at
        self.steps = 0
        self.lines: list[Any] = []
        self.state: Any = None

    def step(self, *, epoch: int, step: int, phase: str) -> str:
        self.steps += phase == "train"
        return "stop" if self.steps == self.stop_at else "go_on"

    def epoch(self, line: Any) -> None:
        self.lines.append(line)

    def checkpoint(self, state: Any) -> None:
        self.state = state


def epochs(**settings: Any) -> tuple[Counts, list[Any]]:
    """A complete training of two epochs with four steps each."""
    with fake_cuda():
        made, world = trainer(layers=1, **settings), World()
        with counting() as counts:
            assert made.run(world) == "completed"
    return counts, world.lines


@pytest.mark.parametrize("task", ["binary", "multiclass", "forecast"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_training_waits_only_at_the_ends_of_epochs(on_cuda: OnCuda, task: str, precision: str) -> None:
    """Each epoch waits for the order of its windows, its clock, its logits and three sums; the first for the labels."""
    counts, lines = on_cuda(epochs, task=task, precision=precision)
    assert [line["epoch"] for line in lines] == [1, 2]
    waits = Counter(wait.split(": ")[0] for wait in counts.waits)
    assert waits == {"_to_copy": 2 * 2 + 1, "a call of the CUDA runtime": 2, "_local_scalar_dense": 2 * 3}


def continued(folder: str, **settings: Any) -> tuple[Counts, Counts]:
    """A step of an uninterrupted training and one of a training continued from a checkpoint file."""
    from scalecore_torch.training import checkpoint

    with fake_cuda():
        made, world = trainer(layers=2, **settings), World(stop_at=3)
        assert made.run(world) == "stopped"
        with counting() as before:
            made.optimizer_step()
        # As torch.save does; fake tensors cannot be written to a file.
        checkpoint.save(
            Path(folder), tree_map(lambda one: one.cpu() if isinstance(one, torch.Tensor) else one, world.state)
        )
    found = checkpoint.load_newest([Path(folder)])
    assert found is not None
    with fake_cuda():
        made = trainer(layers=2, **settings)
        made.restore(found[0])
        assert made.progress.step == 2
        made.optimizer_step()  # draws the order of the windows again
        with counting() as after:
            made.optimizer_step()
    return before, after


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_continued_training_has_the_same_steps(on_cuda: OnCuda, tmp_path: Path, precision: str) -> None:
    """The optimizer's state has the same device and content: no additional kernel and no wait."""
    before, after = on_cuda(continued, str(tmp_path), precision=precision, micro_batch=128)
    assert after.operations == before.operations
    assert after.waits == before.waits == []
