"""The memory of PatchTST's training steps, traced on fake tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psutil
import pytest
import torch

from scalecore.execution.hyperparameters import Hyperparameters
from scalecore_patchtst.model import PatchTST
from scalecore_torch.memory.correction import floor_bytes
from scalecore_torch.memory.heap import held
from scalecore_torch.memory.step_trace import FakeWindows, LiveStorages, trace_step
from scalecore_torch.memory.storages import Phase, Trace, deepened, extrapolated
from scalecore_torch.testing.training import make_training_plan
from scalecore_torch.training.blocks import checkpoint_blocks
from scalecore_torch.training.policies import Policy
from scalecore_torch.training.tasks import task_named
from scalecore_torch.training.training_loop import TrainingLoop

MIB = 1024**2


def trainer_of(
    n_layers: int, *, d_model: int = 64, micro_batch: int = 64, accumulate: bool = False, recompute: bool = False
) -> Callable[[], TrainingLoop]:
    def build() -> TrainingLoop:
        module = PatchTST(
            context=60,
            features=25,
            outputs=1,
            patch_len=10,
            stride=5,
            revin=False,
            d_model=d_model,
            n_layers=n_layers,
            n_heads=4,
            d_ff=4 * d_model,
            spare_positions=10,
            dropout=0.2,
            head_dropout=0.0,
        )
        if recompute:
            checkpoint_blocks(module)
        effective = micro_batch * (2 if accumulate else 1)
        windows: Any = FakeWindows(windows=4 * effective, context=60, features=25, device=torch.device("cpu"))
        plan = make_training_plan(micro_batch, effective_batch=effective, schedule="cosine")
        values = {"learning_rate": 1e-3, "weight_decay": 1e-3, "warmup_steps": 2, "epochs": 2}
        return TrainingLoop(
            module=module,
            task=task_named("binary"),
            plan=plan,
            hyperparameters=Hyperparameters(values),
            train=windows,
            validation=windows,
        )

    return build


def two(**settings: Any) -> tuple[Trace, Trace]:
    """The traces with two and with four layers."""
    shallow, deep = (trace_step(trainer_of(depth, **settings), evaluate=64) for depth in (2, 4))
    return shallow, deep


def predicted(n_layers: int, **settings: Any) -> int:
    trace = deepened(*two(**settings), depth=n_layers)
    assert trace is not None
    return trace.peak


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize(
    ("n_layers", "d_model", "micro_batch", "accumulate"), [(12, 64, 64, True), (9, 256, 2, True), (10, 64, 16, False)]
)
def test_two_small_depths_determine_the_trace_of_a_deep_model(
    n_layers: int, d_model: int, micro_batch: int, accumulate: bool, recompute: bool
) -> None:
    """For shapes dominated by activations and by weights and gradients, the same operations allocate and free the same
    storages as in the deep model, so that its peak and the allocator's memory are equal too.
    """
    settings: dict[str, Any] = {
        "d_model": d_model,
        "micro_batch": micro_batch,
        "accumulate": accumulate,
        "recompute": recompute,
    }
    whole = trace_step(trainer_of(n_layers, **settings), evaluate=64)
    shallow, deep = two(**settings)
    found = deepened(shallow, deep, depth=n_layers)
    assert found is not None
    assert [operations(phase) for phase in found.phases] == [operations(phase) for phase in whole.phases]
    assert found.peak == pytest.approx(whole.peak, rel=0.01)
    assert held(found) == pytest.approx(held(whole), rel=0.01)
    assert extrapolated(shallow, deep, depths=(2, 4), depth=n_layers) == pytest.approx(whole.peak, rel=0.01)


def operations(phase: Phase) -> list[tuple[str, list[int], int]]:
    """The storages that each operation allocates, and the number that it frees."""
    return [(one.name, [size for _, size in one.made], len(one.ended)) for one in phase.operations]


def test_an_evaluation_is_traced_in_float32_for_every_precision() -> None:
    """Evaluations run in float32; in bfloat16 their tensors would be half as large."""

    def in_bf16() -> TrainingLoop:
        trainer = trainer_of(2)()
        trainer.policy = Policy(precision="bf16", why={})
        return trainer

    made: list[dict[bool, list[list[int]]]] = []
    for build in (trainer_of(2), in_bf16):
        phases = trace_step(build, evaluate=512).phases
        made.append(
            {
                evaluation: [
                    [size for _, size in one.made]
                    for phase in phases
                    if phase.evaluation == evaluation
                    for one in phase.operations
                    if one.made
                ]
                for evaluation in (False, True)
            }
        )
    single, half = made
    assert half[True] == single[True]
    assert half[False] != single[False]


def test_two_billion_parameters_are_predicted_without_allocating_them() -> None:
    """The peak is above the floor of 16 bytes per parameter, and this process grows by less than a hundredth of it."""
    before = psutil.Process().memory_info().rss
    found = predicted(256, d_model=768, micro_batch=8, accumulate=True)
    parameters = 256 * (12 * 768**2 + 13 * 768)
    assert floor_bytes(parameters) < found < 2 * floor_bytes(parameters)
    assert psutil.Process().memory_info().rss - before < floor_bytes(parameters) / 100


def test_accumulation_and_recomputation_change_the_peak() -> None:
    """Gradients of the first micro-batch stay during the second; recomputed activations are not kept."""
    once = predicted(24)
    several = predicted(24, accumulate=True)
    recomputed = predicted(24, accumulate=True, recompute=True)
    gradients = 4 * 24 * (12 * 64**2 + 13 * 64)
    assert once < several <= once + 2 * gradients
    assert recomputed < several / 2


def test_the_traced_peak_equals_the_tensors_of_a_real_step() -> None:
    """The same step on real tensors, with its live storages followed, has the same peak in bytes."""
    torch.set_num_threads(1)
    with LiveStorages() as live:
        trainer = trainer_of(4)()
        trainer.optimizer_step()
        live.begin()
        trainer.optimizer_step()
        real = live.trace().peak
    assert trace_step(trainer_of(4), evaluate=1).peak == pytest.approx(real, rel=0.01)
