"""Windows per second and the share of the GPU's matrix peak that training reaches, for 2M, 20M, 200M and 2B parameters.

scalecore-patchtst, windows of 60 steps with 25 features, data on the device, fused AdamW; float32, bfloat16, and
bfloat16 with compiled blocks. The peak is measured first: products of square bfloat16 matrices. Needs an NVIDIA GPU and
a torch built for CUDA; compiled blocks need triton as well. A shape that does not fit is tried with half the batch.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from report import arguments, show
from step import CONTEXT, FEATURES, PATCH, STRIDE

from scalecore.space import DataShape
from scalecore_patchtst.family import PatchTSTFamily
from scalecore_patchtst.options import PatchTSTOptions

DATA = DataShape(context=CONTEXT, features=FEATURES, outputs=1)


class Shape(NamedTuple):
    """A row of the table, and the batch that is tried first."""

    label: str
    d_model: int
    n_layers: int
    n_heads: int
    d_ff: int
    batch: int


SHAPES = (
    Shape("2M", 64, 48, 2, 256, 256),
    Shape("2M", 128, 8, 8, 512, 256),
    Shape("20M", 256, 24, 8, 1024, 256),
    Shape("200M", 768, 28, 12, 3072, 256),
    Shape("2B", 2048, 40, 16, 8192, 256),
    Shape("2B", 768, 256, 12, 3072, 256),
)
MODES = (("fp32", "off"), ("bf16", "off"), ("bf16", "block"))


def seconds_of(function: Callable[[], object], *, times: int) -> float:
    """Seconds of a call on the device; the device is waited for only before the first and after the last."""
    for _ in range(3):
        function()
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    start.record()
    for _ in range(times):
        function()
    end.record()
    torch.cuda.synchronize()
    return float(start.elapsed_time(end)) / 1000 / times


def peak_flops(size: int = 8192) -> float:
    """FLOP/s of a product of bfloat16 matrices."""
    a, b = (torch.randn(size, size, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    return 2.0 * size**3 / seconds_of(lambda: a @ b, times=20)


def windows_per_second(shape: Shape, *, precision: str, compiling: str, batch: int, times: int) -> float:
    """Of training steps with dropout 0.1."""
    torch.manual_seed(0)
    architecture = {name: getattr(shape, name) for name in ("d_model", "n_layers", "n_heads", "d_ff")}
    family = PatchTSTFamily(PatchTSTOptions(patch_len=PATCH, stride=STRIDE))
    module: Any = family.build(architecture, {"dropout": 0.1, "head_dropout": 0.0}, DATA).to("cuda").train()
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-5, fused=True)
    x, y = torch.randn(batch, CONTEXT, FEATURES, device="cuda"), torch.rand(batch, 1, device="cuda").round()
    if compiling == "block":
        module.compile_blocks(lambda block: torch.compile(block, dynamic=False), batch=batch)

    def step() -> None:
        with torch.autocast("cuda", torch.bfloat16, enabled=precision == "bf16"):
            logits = module(x)
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits.float(), y)
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        optimizer.step()

    return batch / seconds_of(step, times=times)


def fitting(shape: Shape, *, precision: str, compiling: str, times: int) -> tuple[int, float] | None:
    """The largest batch that fits, by halves, and its windows per second; None where not even one window fits."""
    batch = shape.batch
    while batch >= 1:
        try:
            rate = windows_per_second(shape, precision=precision, compiling=compiling, batch=batch, times=times)
        except torch.OutOfMemoryError:
            batch //= 2
        else:
            return batch, rate
        finally:
            torch.cuda.empty_cache()
    return None


def main() -> None:
    """Measure, and print."""
    options = arguments(__doc__).parse_args()
    if not torch.cuda.is_available():
        needs = "needs an NVIDIA GPU with its driver, and a torch built for CUDA"
        sys.exit(f"{needs}; torch {torch.__version__} finds no GPU here")
    modes = [mode for mode in MODES if mode[1] == "off" or importlib.util.find_spec("triton")]
    shapes, times = (SHAPES[:2], 3) if options.short else (SHAPES, 20)
    peak = peak_flops()
    family = PatchTSTFamily(PatchTSTOptions(patch_len=PATCH, stride=STRIDE))
    rows = []
    for shape in shapes:
        architecture = {name: getattr(shape, name) for name in ("d_model", "n_layers", "n_heads", "d_ff")}
        for precision, compiling in modes:
            found = fitting(shape, precision=precision, compiling=compiling, times=times)
            batch, rate = found or (None, None)
            flops = 3 * family.flops(architecture, DATA)
            rows.append(
                {
                    "budget": shape.label,
                    **architecture,
                    "parameters": family.num_parameters(architecture, DATA),
                    "precision": precision,
                    "compile": compiling,
                    "batch": batch,
                    "windows/s": rate,
                    "TFLOP/s": None if rate is None else flops * rate / 1e12,
                    "% of peak": None if rate is None else 100 * flops * rate / peak,
                }
            )
            print(rows[-1], file=sys.stderr, flush=True)
    properties = torch.cuda.get_device_properties(0)
    notes = [
        f"{properties.name}, {properties.total_memory / 1024**3:.0f} GiB; peak of bfloat16 products measured here: "
        f"{peak / 1e12:.0f} TFLOP/s",
        "FLOPs of the matrix products of forward and backward pass; recomputation is not counted, and there is none.",
    ]
    show("training on a GPU", rows, notes=notes, path=options.json)


if __name__ == "__main__":
    main()
