"""When compiling PatchTST pays off: its counts, converted to seconds, match measured break-even points."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from scalecore.api.module import Savings
from scalecore.api.space import DataShape
from scalecore_patchtst.family import PatchTSTFamily
from scalecore_patchtst.fast_dropout import hashed_mask, mask_rate
from scalecore_patchtst.model import PatchTST
from scalecore_patchtst.options import PatchTSTOptions
from scalecore_torch.training.compile_choice import Work
from scalecore_torch.training.policies import Policy, choose

FAMILY = PatchTSTFamily(PatchTSTOptions())


def built(
    width: int, depth: int, heads: int, feed_forward: int, *, context: int = 60, dropout: float = 0.0
) -> tuple[PatchTST, int]:
    """The model of a shape, and its FLOPs per window."""
    data = DataShape(context=context, features=25, outputs=1)
    shape = {"d_model": width, "n_layers": depth, "n_heads": heads, "d_ff": feed_forward}
    module = FAMILY.build(shape, {"dropout": dropout, "head_dropout": 0.0}, data)
    assert isinstance(module, PatchTST)
    return module, FAMILY.flops(shape, data)


def decided(module: PatchTST, flops: int, *, total: float, device: str = "cpu", **changes: Any) -> Policy:
    """The policy of a trial of `total` FLOPs."""
    windows = 100
    work = Work(
        flops=flops,
        windows=windows,
        epochs=max(1, round(total / (3 * flops * windows))),
        effective_batch=64,
        blocks=len(module.layers),
        savings=module.compile_savings(),
    )
    settings = {"precision": "fp32", "compile": "auto", "bf16_hardware": True, "compiler_problem": None}
    return choose(**{**settings, **changes}, device=device, work=work)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("shape", "break_even"),
    [
        ((64, 48, 2, 256), 5e12),
        ((64, 48, 32, 256), 8e11),
        ((128, 8, 8, 512), 9e12),
        ((256, 24, 8, 1024), 2e13),
        ((512, 3, 8, 1024), 5e13),
    ],
)
def test_the_measured_break_even_points_are_matched(shape: tuple[int, int, int, int], break_even: float) -> None:
    """Measured at 25 s per compilation; they match within a factor of 1.5 on both sides."""
    module, flops = built(*shape)
    assert decided(module, flops, total=break_even / 1.5).compile == "off"
    assert decided(module, flops, total=break_even * 1.5).compile == "block"


def test_bfloat16_and_long_windows_gain_less_and_dropout_more() -> None:
    """The counts depend on the module: its dropout, the layout of compiled code on its device, its patches."""
    module, flops = built(256, 2, 8, 1024)
    assert module.compile_savings() == Savings(numbers=2 * 11 * (5 * 256 + 1024), heads=16)
    assert decided(module, flops, total=3e13).compile == "block"
    assert decided(module, flops, total=3e13, precision="bf16").compile == "off"
    dropping, _ = built(256, 2, 8, 1024, dropout=0.1)
    assert dropping.compile_savings().masks == 2 * 11 * (2 * 256 + 1024)
    assert decided(dropping, flops, total=2e13).compile == "block"
    long, flops = built(64, 2, 32, 256, context=252)
    assert long.compile_savings() == Savings(numbers=0)
    assert decided(long, flops, total=1e18).compile == "off"


def test_on_a_gpu_patches_count_and_heads_do_not() -> None:
    """Compiled code has the plain layout there, and attention stays one kernel."""
    module, _ = built(64, 2, 32, 256, context=252)
    assert module.to("meta").compile_savings() == Savings(numbers=2 * 49 * (5 * 64 + 256))


@pytest.mark.filterwarnings("ignore")  # torch warns about its own compiler
def test_compiled_code_does_not_depend_on_the_rate_of_dropout() -> None:
    """The layers receive it as tensors, with the same masks as for a number; another rate compiles the same graph."""
    seeds = torch.tensor([5, 7], dtype=torch.int32)
    for rate in (0.1, 0.37, 1 / 3):
        assert torch.equal(hashed_mask((4, 1000), rate, seeds), hashed_mask((4, 1000), mask_rate(rate), seeds))
    graphs = []

    def backend(graph: torch.fx.GraphModule, _: Any) -> Any:
        graphs.append(graph.code)
        return graph

    for rate in (0.1, 0.2):
        module, _ = built(16, 1, 2, 32, dropout=rate)
        torch._dynamo.reset()
        module.compile_blocks(lambda block: torch.compile(block, dynamic=False, backend=backend), batch=4)
        module.train()(torch.randn(4, 60, 25))
    assert len(graphs) == 2
    assert graphs[0] == graphs[1]
