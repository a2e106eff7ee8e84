"""Predicted memory of a GPU: traces on CUDA tensors, and the replay compared with torch's caching allocator."""

from __future__ import annotations

import ctypes
import os
import random
from collections.abc import Callable
from typing import Any

import pytest
from attrs import evolve

from scalecore_torch.memory.tracer import answer


def question(*, n_heads: int = 4) -> dict[str, Any]:
    """A question about a shape of 48 layers, traced with two and four."""
    from scalecore.api.space import DataShape
    from scalecore.execution.attempt_spec import ModelSpec
    from scalecore.plugins.registry import load_registry
    from scalecore_torch.testing.training import make_attempt_spec, make_training_plan

    values = {"learning_rate": 1e-3, "weight_decay": 0.1, "warmup_steps": 0, "epochs": 1}
    spec = make_attempt_spec(
        registry={"no_plugins": False, "block": []},
        model=ModelSpec(use="patchtst", options={}),
        shape=DataShape(context=60, features=25, outputs=1),
        hyperparameters={"dropout": 0.1, "head_dropout": 0.0, **values},
        plan=make_training_plan(
            effective_batch=64, micro_batch=64, schedule="constant", gradient_clip=1.0, patience=None
        ),
        precision="bf16",
        seed=1,
    )

    record = load_registry().default("model", "patchtst").record
    family: Any = record.factory(record.options())
    specs = []
    for layers in (2, 4):
        shape = {"d_model": 64, "n_layers": layers, "n_heads": n_heads, "d_ff": 256}
        count = family.num_parameters(shape, DataShape(context=60, features=25, outputs=1))
        specs.append({**evolve(spec, architecture=shape, num_parameters=count).plain(), "evaluate": 512})
    return {"key": "one", "specs": specs, "depths": [2, 4], "depth": 48, "device": "cuda"}


def answered(*, n_heads: int = 4, gpu: bool = True) -> dict[str, Any]:
    """The tracer's answer, with or without a GPU."""
    if not gpu:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    return answer(question(n_heads=n_heads))


def answered_where_a_process_has_the_gpu_for_itself() -> dict[str, Any]:
    """The tracer's answer in the driver's mode that allows one process."""
    ctypes.CDLL(None).stub_compute_mode(3)
    return answer(question())


def compared(seed: int) -> tuple[int, int]:
    """Bytes reserved after random requests by torch's allocator and by the replay."""
    import torch

    from scalecore_torch.memory.cuda import CachingAllocator

    draw, replayed, alive = random.Random(seed), CachingAllocator(), {}
    for key in range(400):
        size = round(2 ** draw.uniform(6, 26))
        replayed.allocate(key, size)
        alive[key] = torch.empty(size, dtype=torch.uint8, device="cuda")
        while len(alive) > 20 or (alive and draw.random() < 0.4):
            ended = draw.choice(list(alive))
            replayed.free(ended)
            del alive[ended]
    return torch.cuda.memory_reserved(), replayed.peak


def test_a_trial_for_cuda_is_traced_on_cuda_tensors(on_cuda: Callable[..., Any]) -> None:
    """Attention in bfloat16 keeps less on a GPU than on a CPU; the allocator's reserved memory is replayed."""
    there, here = on_cuda(answered), on_cuda(answered, gpu=False)
    assert (there["traced_on"], there["blocks"]) == ("cuda", 4)
    assert "note" not in there
    assert there["tensors"] < here["tensors"]
    assert there["tensors"] < there["held"] < 1.5 * there["tensors"]


def test_narrow_heads_need_more_memory_on_a_gpu_than_on_a_cpu(on_cuda: Callable[..., Any]) -> None:
    """No factor converts one into the other."""
    assert on_cuda(answered, n_heads=32)["tensors"] > on_cuda(answered, n_heads=32, gpu=False)["tensors"]


def test_without_a_shareable_gpu_the_trace_is_that_of_the_cpu(on_cuda: Callable[..., Any]) -> None:
    """A context of the tracer would block attempts; the answer has the reason."""
    for function, settings in ((answered, {"gpu": False}), (answered_where_a_process_has_the_gpu_for_itself, {})):
        found = on_cuda(function, **settings)
        assert found["traced_on"] == "cpu"
        assert found["note"] == "traced as on the CPU: no GPU here allows several processes at once"


@pytest.mark.parametrize("seed", range(3))
def test_the_replay_reserves_as_much_as_the_caching_allocator(on_cuda: Callable[..., Any], seed: int) -> None:
    """Equal to the byte: segments for small, medium and large requests, best fit, splitting and joining."""
    real, replayed = on_cuda(compared, seed)
    assert real == replayed
