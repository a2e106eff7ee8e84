"""Kernels of a layer with few launches: in eager code and in compiled code."""

from __future__ import annotations

import re
import tempfile
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from attrs import evolve

from scalecore_torch.compute_policy import compile_trainer

from .counting import Counts, counting, fake_cuda
from .training import trainer


def steps(*, launches: str, **settings: Any) -> Counts:
    """The calls of the second step of a trainer."""
    with fake_cuda():
        made = trainer(**settings)
        made.policy = evolve(made.policy, launches=launches)
        made.optimizer_step()
        with counting() as counts:
            made.optimizer_step()
    return counts


def per_layer(on_cuda: Callable[..., Any], **settings: Any) -> dict[str, float]:
    """Kernels of one layer by kind."""
    shallow, deep = (on_cuda(steps, layers=layers, **settings).kernels for layers in (2, 4))
    return {kind: (count - shallow[kind]) / 2 for kind, count in deep.items() if count != shallow[kind]}


class Written(Exception):
    """Raised when the compiler has generated its code, which cannot run without a GPU."""


def written(*, launches: str, **settings: Any) -> list[dict[str, int]]:
    """Count the kernels in the code of a compiled block, forward and backward: generated ones and others.

    torch's compiler runs for a simulated GPU, until it would build the kernels.
    """
    import torch._functorch.config
    import torch._inductor.config
    import triton
    from torch._inductor.graph import GraphLowering
    from triton.backends.compiler import GPUTarget
    from triton.backends.nvidia.driver import CudaDriver

    class Hopper(CudaDriver):  # type: ignore[misc]
        def __init__(self) -> None:
            pass

        def get_current_device(self) -> int:
            return 0

        def get_current_target(self) -> Any:
            return GPUTarget("cuda", 90, 32)

    found: list[dict[str, int]] = []

    class Module:
        key, __file__ = "", "/dev/null"

        @staticmethod
        def call(arguments: Any) -> Any:
            raise Written

    def write(graph: Any) -> Any:
        code = graph.codegen()[0].value
        body = code[code.index("def call(") :]
        others = re.findall(r"= torch\.ops\.aten\.\w+\.\w+\(|extern_kernels\.\w+\(", body)
        found.append({"own": len(re.findall(r"\.run\(", body)), "others": len(others)})
        graph.cache_key, graph.cache_path, graph.cache_linemap = "", "/dev/null", []
        return Module

    warnings.simplefilter("ignore")  # torch warns about its compiler
    triton.runtime.driver.set_active(Hopper())
    with fake_cuda():
        made = trainer(layers=1, **settings)
    fake: Any = next(made.module.parameters())
    with (
        tempfile.TemporaryDirectory() as folder,
        fake.fake_mode,
        patch.object(GraphLowering, "compile_to_module", write),
        torch._functorch.config.patch(force_non_lazy_backward_lowering=True),
        torch._inductor.config.patch(fx_graph_cache=False),
        suppress(Written),
    ):
        policy = evolve(made.policy, launches=launches, compile="block")
        compile_trainer(made, policy, folder=Path(folder) / "compiled", asked=True)
    return found


def test_few_launches_cast_weights_all_at_once(on_cuda: Callable[..., Any]) -> None:
    """It saves 8 casts of weights and biases and 8 of their gradients per layer, and adds no other kernel."""
    plain = per_layer(on_cuda, launches="plain")
    assert per_layer(on_cuda, launches="few") == {**plain, "cast": plain["cast"] - 16}


def test_few_launches_do_not_wait(on_cuda: Callable[..., Any]) -> None:
    """Steps with accumulated gradients do not wait either."""
    assert on_cuda(steps, launches="few", layers=2, micro_batch=64).waits == []


@pytest.mark.parametrize(
    ("launches", "precision", "budget"), [("few", "bf16", 30), ("few", "fp32", 30), ("plain", "bf16", 49)]
)
def test_a_compiled_layer_has_its_budget_of_kernels(
    on_cuda: Callable[..., Any], launches: str, precision: str, budget: int
) -> None:
    """The budget covers forward and backward pass."""
    forward, backward = on_cuda(written, launches=launches, precision=precision)
    assert forward["others"] == 5  # four products and attention
    assert backward["others"] == 9
    assert sum(forward.values()) + sum(backward.values()) <= budget
