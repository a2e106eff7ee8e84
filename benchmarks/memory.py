"""Predicted and measured memory of training: PatchTST shapes on the CPU, each in a process of its own.

For each shape: the tensors of a step as traced on fake tensors, the seconds that took, the peak predicted before
anything was measured (`prior`), the peak predicted after the other shapes were measured (`fitted`: leave one out), the
measured peak of a process that made three optimizer steps and an evaluation, and the ratios of predicted to measured.
A shape of 2 billion parameters is predicted only.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import Any

from report import arguments, show

from scalecore.training.memory import MIB, Observation, floor_bytes, prior

CONTEXT, FEATURES, EVALUATED = 60, 25, 512

# d_model, n_layers, n_heads, d_ff, micro-batch, accumulation, recomputed activations
SHAPES = (
    (64, 48, 4, 256, 64, 1, False),
    (64, 48, 4, 256, 256, 1, False),
    (64, 48, 4, 256, 64, 4, False),
    (64, 48, 4, 256, 256, 1, True),
    (128, 8, 4, 512, 256, 1, False),
    (512, 3, 8, 1024, 256, 1, False),
    (256, 24, 8, 1024, 64, 1, False),
    (256, 24, 8, 1024, 32, 2, False),
    (256, 24, 8, 1024, 4, 2, False),
    (256, 24, 8, 1024, 64, 1, True),
    (128, 64, 32, 256, 64, 1, False),
    (768, 8, 8, 3072, 8, 2, False),
    (1024, 12, 16, 4096, 4, 2, False),
    (512, 48, 8, 1024, 8, 2, False),
)
LARGEST = (768, 256, 16, 3072, 64, 4, False)
SHORT, STEPS = 4, 3


def trainer_of(shape: tuple[Any, ...], *, fake: bool, n_layers: int | None = None) -> Any:
    """The trainer of a shape, on windows without data or on random ones."""
    import torch

    from scalecore.training.blocks import checkpoint_blocks
    from scalecore.training.hyperparameters import Hyperparameters
    from scalecore.training.memory_trace import FakeWindows
    from scalecore.training.plan import TrainingPlan
    from scalecore.training.tasks import task_named
    from scalecore.training.trainer import Trainer
    from scalecore_patchtst.model import PatchTST

    d_model, depth, n_heads, d_ff, micro_batch, accumulation, recompute = shape
    module = PatchTST(
        context=CONTEXT,
        features=FEATURES,
        outputs=1,
        patch_len=10,
        stride=5,
        revin=False,
        d_model=d_model,
        n_layers=n_layers or depth,
        n_heads=n_heads,
        d_ff=d_ff,
        spare_positions=10,
        dropout=0.2,
        head_dropout=0.0,
    )
    if recompute:
        checkpoint_blocks(module)
    batch = micro_batch * (min(accumulation, 2) if fake else accumulation)
    windows: Any = FakeWindows(windows=8 * batch, context=CONTEXT, features=FEATURES, device=torch.device("cpu"))
    plan = TrainingPlan(
        effective_batch=batch,
        micro_batch=micro_batch,
        schedule="cosine",
        gradient_clip=1.0,
        patience=None,
        min_delta=0.0,
        metric="val_loss",
        direction="minimize",
        reduction="best",
        seed=0,
        checkpoint_every=60.0,
    )
    values = {"learning_rate": 1e-3, "weight_decay": 1e-3, "warmup_steps": 2, "epochs": 2}
    return Trainer(
        module=module,
        task=task_named("binary"),
        plan=plan,
        hyperparameters=Hyperparameters(values),
        train=windows,
        validation=windows,
    )


def traced(shape: tuple[Any, ...]) -> tuple[int, float]:
    """Bytes of the tensors, and the seconds that it took to find that out."""
    from scalecore.training.memory_trace import extrapolated, trace_step

    started = time.perf_counter()
    depths = (2, 4)
    shallow, deep = (
        trace_step(lambda n=n: trainer_of(shape, fake=True, n_layers=n), evaluate=EVALUATED)  # type: ignore[misc]
        for n in depths
    )
    tensors = max(extrapolated(shallow, deep, depths=depths, depth=shape[1]), 0)
    return tensors, time.perf_counter() - started


def work(shape: tuple[Any, ...]) -> None:
    """In a process of its own: real steps and an evaluation; prints the peak in bytes."""
    import torch

    import scalecore.execution.attempt  # noqa: F401 - what an attempt has in memory too
    from scalecore.execution.allocation import measured, return_large_blocks

    torch.set_num_threads(1)
    torch.manual_seed(0)
    if shape[-1]:
        return_large_blocks()
    trainer = trainer_of(shape, fake=False)
    trainer._windows_MTF.zero_()  # where the windows come to lie: real numbers for real steps
    for _ in range(STEPS):
        trainer.optimizer_step()
    trainer.evaluate(trainer.validation, limit=EVALUATED)
    print(measured(torch.device("cpu"), micro_batch=trainer.micro_batch)["peak"])


def measure(shape: tuple[Any, ...]) -> int:
    """The peak of a process that trains this shape."""
    command = [sys.executable, __file__, "--work", json.dumps(shape)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return int(done.stdout.split()[-1])


def main() -> None:
    """Trace all shapes, train all but the largest, and show the ratios."""
    parser = arguments(__doc__)
    parser.add_argument("--work", help="internal: the shape to train in this process")
    options = parser.parse_args()
    if options.work:
        work(tuple(json.loads(options.work)))
        return
    shapes = SHAPES[:SHORT] if options.short else SHAPES
    traced(shapes[0])  # imports
    found = []
    for shape in shapes:
        found.append((shape, *traced(shape), measure(shape)))
        print(f"{shape}: {found[-1][-1] / MIB:.0f} MiB", file=sys.stderr, flush=True)
    rows = []
    for at, (shape, tensors, seconds, peak) in enumerate(found):
        allocator = "returning" if shape[-1] else "default"
        begun = prior("cpu", allocator, traced=True)
        others = [
            Observation(tensors=t, floor=floor_of(other), peak=p)
            for n, (other, t, _, p) in enumerate(found)
            if n != at and other[-1] == shape[-1]
        ]
        fitted, floor = begun.fitted(others), floor_of(shape)
        rows.append(
            row(shape, tensors, seconds)
            | {
                "prior_mib": round(begun.apply(tensors, floor=floor) / MIB),
                "fitted_mib": round(fitted.apply(tensors, floor=floor) / MIB),
                "measured_mib": round(peak / MIB),
                "prior/measured": round(begun.apply(tensors, floor=floor) / peak, 3),
                "fitted/measured": round(fitted.apply(tensors, floor=floor) / peak, 3),
            }
        )
    tensors, seconds = traced(LARGEST)
    begun = prior("cpu", "default", traced=True)
    rows.append(
        row(LARGEST, tensors, seconds) | {"prior_mib": round(begun.apply(tensors, floor=floor_of(LARGEST)) / MIB)}
    )
    show(
        "Memory of training on a CPU: predicted and measured peak of the process",
        rows,
        notes=[
            "fitted: the correction is fitted to the other measured shapes with the same allocator (leave one out)",
            "recompute: with activation checkpointing and blocks of a mebibyte given back; two shapes, fitted to one",
            "on a shared machine under load, which moves the seconds, not the peaks",
        ],
        path=options.json,
    )


def floor_of(shape: tuple[Any, ...]) -> int:
    """Bytes of weights, gradients and moments."""
    from scalecore.space import DataShape
    from scalecore_patchtst.family import PatchTSTFamily
    from scalecore_patchtst.options import PatchTSTOptions

    names = ("d_model", "n_layers", "n_heads", "d_ff")
    data = DataShape(context=CONTEXT, features=FEATURES, outputs=1)
    family = PatchTSTFamily(PatchTSTOptions())
    return floor_bytes(family.num_parameters(dict(zip(names, shape, strict=False)), data))


def row(shape: tuple[Any, ...], tensors: int, seconds: float) -> dict[str, Any]:
    """What is known of a shape without training it."""
    d_model, n_layers, n_heads, d_ff, micro_batch, accumulation, recompute = shape
    return {
        "shape": f"d{d_model} L{n_layers} h{n_heads} u{d_ff}",
        "micro_batch": f"{micro_batch} x {accumulation}",
        "recompute": "yes" if recompute else "no",
        "tensors_mib": round(tensors / MIB),
        "seconds": round(seconds, 2),
    }


if __name__ == "__main__":
    main()
