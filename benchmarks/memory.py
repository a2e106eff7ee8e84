"""Predicted and measured memory of training: PatchTST shapes on the CPU, each in a process of its own.

For each shape: the tensors of a step as traced on fake tensors, what the C library's allocator holds for them as
replayed, the seconds both took, the peak that a new study predicts (`predicted`), the measured peak of a process that
made three optimizer steps and an evaluation, and the ratio of predicted to measured. The `known` shapes are those that
the constants of the prediction were set with; the `fresh` ones were drawn at random over the grid and never used.
`fitted` is what a study predicts that has measured all other shapes with the same allocator (leave one out).
A shape of 2 billion parameters is predicted only.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

from report import arguments, show

from scalecore.training.memory import MIB, Allocator, Correction, Observation, floor_bytes, prior

CONTEXT, FEATURES, PATCHES, EVALUATED = 60, 25, 11, 512


class Shape(NamedTuple):
    """A model, how its batch is divided, and whether activations are recomputed."""

    d_model: int
    n_layers: int
    n_heads: int
    d_ff: int
    micro_batch: int
    accumulation: int = 1
    recompute: bool = False
    dropout: float = 0.2

    @property
    def allocator(self) -> Allocator:
        return "returning" if self.recompute else "default"


KNOWN = (
    Shape(64, 48, 4, 256, 64),
    Shape(64, 48, 4, 256, 256),
    Shape(64, 48, 4, 256, 64, 4),
    Shape(64, 48, 4, 256, 256, recompute=True),
    Shape(128, 8, 4, 512, 256),
    Shape(512, 3, 8, 1024, 256),
    Shape(256, 24, 8, 1024, 64),
    Shape(256, 24, 8, 1024, 32, 2),
    Shape(256, 24, 8, 1024, 4, 2),
    Shape(256, 24, 8, 1024, 64, recompute=True),
    Shape(128, 64, 32, 256, 64),
    Shape(768, 8, 8, 3072, 8, 2),
    Shape(1024, 12, 16, 4096, 4, 2),
    Shape(512, 48, 8, 1024, 8, 2),
)
LARGEST = Shape(768, 256, 16, 3072, 64, 4)
SHORT, STEPS = 4, 3
FRESH, SEED = 12, 20261122
LEAST_TENSORS, MOST_TENSORS, MOST_FLOPS = 100 * MIB, 2500 * MIB, 6e11
"""What a fresh shape needs: enough to be seen beside what every process takes, no more than a small machine has."""


def fresh() -> Iterator[Shape]:
    """Shapes drawn at random, the same ones each time."""
    draw = random.Random(SEED)
    found = 0
    while found < FRESH:
        d_model = draw.choice((64, 128, 256, 512, 768, 1024))
        shape = Shape(
            d_model=d_model,
            n_layers=round(2 ** draw.uniform(0, 6)),
            n_heads=draw.choice((1, 2, 4, 8, 16, 32)),
            d_ff=d_model * draw.choice((1, 2, 4)),
            micro_batch=2 ** draw.randint(3, 9),
            accumulation=draw.choice((1, 1, 2, 3)),
            recompute=draw.random() < 0.3,
            dropout=draw.choice((0.0, 0.2)),
        )
        parameters = floor_of(shape) // floor_bytes(1)
        rows = PATCHES * shape.micro_batch
        activations = 4 * rows * shape.n_layers * (9 * d_model + 4 * shape.d_ff)
        flops = 6 * parameters * rows * shape.accumulation
        if LEAST_TENSORS <= floor_of(shape) + activations <= MOST_TENSORS and flops <= MOST_FLOPS:
            found += 1
            yield shape


def trainer_of(shape: Shape, *, fake: bool, n_layers: int | None = None) -> Any:
    """The trainer of a shape, on windows without data or on random ones."""
    import torch

    from scalecore.training.blocks import checkpoint_blocks
    from scalecore.training.hyperparameters import Hyperparameters
    from scalecore.training.memory_trace import FakeWindows
    from scalecore.training.plan import TrainingPlan
    from scalecore.training.tasks import task_named
    from scalecore.training.trainer import Trainer
    from scalecore_patchtst.model import PatchTST

    module = PatchTST(
        context=CONTEXT,
        features=FEATURES,
        outputs=1,
        patch_len=10,
        stride=5,
        revin=False,
        d_model=shape.d_model,
        n_layers=n_layers or shape.n_layers,
        n_heads=shape.n_heads,
        d_ff=shape.d_ff,
        spare_positions=10,
        dropout=shape.dropout,
        head_dropout=0.0,
    )
    if shape.recompute:
        checkpoint_blocks(module)
    batch = shape.micro_batch * (min(shape.accumulation, 2) if fake else shape.accumulation)
    count = max(8 * batch, EVALUATED)
    windows: Any = FakeWindows(windows=count, context=CONTEXT, features=FEATURES, device=torch.device("cpu"))
    plan = TrainingPlan(
        effective_batch=batch,
        micro_batch=shape.micro_batch,
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


def traced(shape: Shape) -> tuple[int, int, float]:
    """Bytes of the tensors, bytes that the allocator holds for them, and the seconds that it took to find that out."""
    from scalecore.execution.allocation import RETURNED_FROM
    from scalecore.training.memory_heap import held
    from scalecore.training.memory_storages import deepened
    from scalecore.training.memory_trace import trace_step

    started = time.perf_counter()
    depths = (2, 4) if shape.n_layers > 4 else (shape.n_layers,)
    traces = [
        trace_step(lambda n=n: trainer_of(shape, fake=True, n_layers=n), evaluate=EVALUATED)  # type: ignore[misc]
        for n in depths
    ]
    trace = traces[0] if len(traces) == 1 else deepened(*traces, depth=shape.n_layers)
    assert trace is not None
    kept = held(trace, threshold=RETURNED_FROM if shape.recompute else None)
    return trace.peak, kept, time.perf_counter() - started


def work(shape: Shape) -> None:
    """In a process of its own: real steps and an evaluation; prints the peak in bytes."""
    import torch

    import scalecore.execution.attempt  # noqa: F401 - what an attempt has in memory too
    from scalecore.execution.allocation import measured, return_large_blocks

    torch.set_num_threads(1)
    torch.manual_seed(0)
    if shape.recompute:
        return_large_blocks()
    trainer = trainer_of(shape, fake=False)
    trainer._windows_MTF.zero_()  # where the windows come to lie: real numbers for real steps
    for _ in range(STEPS):
        trainer.optimizer_step()
    trainer.evaluate(trainer.validation, limit=EVALUATED)
    print(measured(torch.device("cpu"), micro_batch=trainer.micro_batch)["peak"])


def measure(shape: Shape) -> int:
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
        work(Shape(*json.loads(options.work)))
        return
    shapes = [("known", shape) for shape in KNOWN] + [("fresh", shape) for shape in fresh()]
    if options.short:
        shapes = shapes[:SHORT]
    traced(shapes[0][1])  # imports
    found = []
    for kind, shape in shapes:
        found.append((kind, shape, *traced(shape), measure(shape)))
        print(f"{shape}: {found[-1][-1] / MIB:.0f} MiB", file=sys.stderr, flush=True)
    rows = []
    for at, (kind, shape, tensors, kept, seconds, peak) in enumerate(found):
        begun = first(shape)
        others = [
            Observation(tensors=k, floor=floor_of(other), peak=p)
            for n, (_, other, _, k, _, p) in enumerate(found)
            if n != at and other.recompute == shape.recompute
        ]
        predicted = begun.apply(kept, floor=floor_of(shape))
        fitted = begun.fitted(others).apply(kept, floor=floor_of(shape))
        rows.append(
            row(kind, shape, tensors, kept, seconds)
            | {
                "predicted_mib": round(predicted / MIB),
                "fitted_mib": round(fitted / MIB),
                "measured_mib": round(peak / MIB),
                "predicted/measured": round(predicted / peak, 3),
                "fitted/measured": round(fitted / peak, 3),
            }
        )
    ratios = [one["predicted/measured"] for one in rows]
    tensors, kept, seconds = traced(LARGEST)
    predicted = first(LARGEST).apply(kept, floor=floor_of(LARGEST))
    rows.append(row("largest", LARGEST, tensors, kept, seconds) | {"predicted_mib": round(predicted / MIB)})
    show(
        "Memory of training on a CPU: predicted and measured peak of the process",
        rows,
        notes=[
            f"predicted/measured: {min(ratios)} to {max(ratios)}; known: the constants of the prediction were set with "
            "these; fresh: drawn at random, not used",
            "fitted: the correction is fitted to the other measured shapes with the same allocator (leave one out)",
            "recompute: with activation checkpointing and blocks of a mebibyte given back",
            "on a shared machine under load, which moves the seconds, not the peaks",
        ],
        path=options.json,
    )


def first(shape: Shape) -> Correction:
    """How a new study predicts."""
    return prior("cpu", shape.allocator, basis="held")


def floor_of(shape: Shape) -> int:
    """Bytes of weights, gradients and moments."""
    from scalecore.space import DataShape
    from scalecore_patchtst.family import PatchTSTFamily
    from scalecore_patchtst.options import PatchTSTOptions

    names = ("d_model", "n_layers", "n_heads", "d_ff")
    data = DataShape(context=CONTEXT, features=FEATURES, outputs=1)
    family = PatchTSTFamily(PatchTSTOptions())
    return floor_bytes(family.num_parameters({name: getattr(shape, name) for name in names}, data))


def row(kind: str, shape: Shape, tensors: int, kept: int, seconds: float) -> dict[str, Any]:
    """What is known of a shape without training it."""
    return {
        "set": kind,
        "shape": f"d{shape.d_model} L{shape.n_layers} h{shape.n_heads} u{shape.d_ff}",
        "micro_batch": f"{shape.micro_batch} x {shape.accumulation}",
        "dropout": shape.dropout,
        "recompute": "yes" if shape.recompute else "no",
        "tensors_mib": round(tensors / MIB),
        "held_mib": round(kept / MIB),
        "seconds": round(seconds, 2),
    }


if __name__ == "__main__":
    main()
