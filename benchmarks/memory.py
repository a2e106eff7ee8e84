"""Predicted and measured memory of training: PatchTST shapes on the CPU, each in a process of its own.

Each shape is a study of one trial. Predicted is by the study's own way: the tensors of a step as traced on fake
tensors, what the C library's allocator holds for them as replayed, and the peak that a new study predicts from that,
with the seconds that it waited. Measured is the peak that the attempt reports: three optimizer steps in eager float32,
an evaluation, the best weights written, as in every trial, in a process that the executor `local` starts as it would in
a study (`--start` as its option): what a process takes besides depends on that, and on the build of torch. The `known`
shapes are those that were looked at while the prediction was made; the `fresh` ones were drawn at random over the grid
and never used. `fitted` is what a study predicts that has measured all other shapes with the same allocator (leave one
out). A shape of 2 billion parameters is predicted only.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from report import arguments, show

from scalecore_torch.memory.correction import MIB, MemoryObservation, Observations, floor_bytes

if TYPE_CHECKING:
    from scalecore.execution.local.executor import LocalExecutor
    from scalecore.planning.plan import Plan
    from scalecore.planning.runtime import Runtime
    from scalecore_torch.memory.client import TraceClient
    from scalecore_torch.memory.forecast import TorchPrediction

CONTEXT, FEATURES, PATCHES, EVALUATED = 60, 25, 11, 512
NEAR = 0.10


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
    optimizer: Any = None
    """As `training.optimizer` has it; None for AdamW."""

    @property
    def effective_batch(self) -> int:
        """Windows of an optimizer step."""
        return self.micro_batch * self.accumulation


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
    Shape(768, 2, 8, 768, 128),
    Shape(768, 6, 8, 3072, 32),
)
LARGEST = Shape(768, 256, 16, 3072, 64, 4)
SHORT, STEPS = 4, 3
FRESH, SEED = 12, 20261124
LEAST_TENSORS, MOST_TENSORS, MOST_FLOPS = 100 * MIB, 2500 * MIB, 6e11
"""About what a fresh shape needs: enough to be seen beside what every process takes, and what a small machine has."""
NOTES = (
    "known: the constants of the prediction were set with these; fresh: drawn at random, not used",
    "fitted: the correction is fitted to the other measured shapes with the same allocator (leave one out)",
    "recompute: with activation checkpointing and blocks of a mebibyte given back",
    "eager, float32; on a shared machine under load, which moves the seconds, not the peaks",
)


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
        parameters = shape.n_layers * (4 * d_model**2 + 2 * d_model * shape.d_ff)
        floor = floor_bytes(parameters)
        rows = PATCHES * shape.micro_batch
        activations = 4 * rows * shape.n_layers * (9 * d_model + 4 * shape.d_ff)
        flops = 6 * parameters * rows * shape.accumulation
        if LEAST_TENSORS <= floor + activations <= MOST_TENSORS and flops <= MOST_FLOPS:
            found += 1
            yield shape


def parts(shape: Shape) -> tuple[int, int]:
    """Rows of the training part, and of each of the others: their windows, and what is cut off between parts."""
    return STEPS * shape.effective_batch + 2 * CONTEXT, EVALUATED + 2 * CONTEXT


def columns() -> list[str]:
    """Of the random walk."""
    return ["Close", *(f"f{n}" for n in range(1, FEATURES))]


def experiment(shape: Shape) -> dict[str, Any]:
    """The content of an experiment file over one architecture: an epoch of a few steps, eager, in float32."""
    train, others = parts(shape)
    rows = train + 2 * others
    return {
        "name": "memory",
        "dataset": {
            "use": "parquet",
            "path": "walk.csv",
            "features": columns(),
            "target": {"kind": "direction"},
            "context": CONTEXT,
            "split": {"train": train / rows, "val": others / rows, "test": others / rows},
        },
        "model": {
            "use": "patchtst",
            "d_model": [shape.d_model],
            "n_layers": [shape.n_layers],
            "n_heads": [shape.n_heads],
            "d_ff_ratio": [shape.d_ff // shape.d_model],
        },
        "search": {"use": "random", "trials": 1},
        "training": {
            "effective_batch": shape.effective_batch,
            "micro_batch": shape.micro_batch,
            "activation_checkpointing": "on" if shape.recompute else "off",
            "precision": "fp32",
            "compile": "off",
            "device": "cpu",
            "threads": 1,
            "optimizer": shape.optimizer,
            "hyperparameters": {"epochs": 1, "dropout": shape.dropout},
        },
        "guards": {"min_validation_samples": 10, "min_validation_positives": 2},
        "monitors": [],
        "loggers": [],
    }


def plan_of(shape: Shape, folder: Path) -> tuple[Plan, Runtime]:
    """The plan of a study of this shape, over a random walk that is as long as its steps need."""
    import numpy as np
    import yaml

    from scalecore.config.resolve import load_resolved
    from scalecore.planning.build_plan import build_plan
    from scalecore.plugins.registry import load_registry

    train, others = parts(shape)
    rows = train + 2 * others
    walk = np.exp(np.cumsum(np.random.default_rng(3).normal(0, 0.01, (rows, FEATURES)), axis=0))
    days = np.datetime64("1990-01-01") + np.arange(rows)
    lines = [",".join((str(day), *map(str, row))) for day, row in zip(days, walk, strict=True)]
    header = ",".join(("Date", *columns()))
    (folder / "walk.csv").write_text("\n".join([header, *lines]), encoding="utf-8")
    (folder / "experiment.yaml").write_text(yaml.safe_dump(experiment(shape)), encoding="utf-8")
    loaded, resolved = load_resolved(folder / "experiment.yaml", registry=load_registry())
    return build_plan(loaded, resolved, folder=folder)


def predict(plan: Plan, runtime: Runtime, shape: Shape, client: TraceClient) -> tuple[TorchPrediction, float]:
    """What a new study predicts, by its own way, and the seconds that it waited for the tracer."""
    from scalecore.api.memory_forecast import ForecastContext
    from scalecore.planning.build_plan import training_setup
    from scalecore_torch.memory.forecast import TorchForecast

    trainer: Any = plan.resolved.training
    context = ForecastContext(folder=Path("nowhere"), registry={}, traces=True, model={}, code=dict)
    options = plan.resolved.trainer.options
    memory = TorchForecast(context, options, state=trainer.own.optimizer_state, client=client)
    memory.prepare(training_setup(plan, runtime))
    (architecture,) = plan.grid.architectures
    started = time.perf_counter()
    found = memory.predict(architecture, shape.micro_batch, device="cpu", checkpointing=shape.recompute)
    if found is None or found.held is None:
        raise SystemExit(f"{shape} was not replayed: {found}")
    return found, time.perf_counter() - started


def tracing(executor: LocalExecutor) -> TraceClient:
    """The tracer of all predictions, which is warm when this returns."""
    from scalecore_torch.memory.client import TraceClient

    client = TraceClient(fork=executor.fork_tracer)
    client.start()
    return client


def measure(plan: Plan, shape: Shape, folder: Path, executor: LocalExecutor) -> int:
    """The peak in bytes that the attempt of a trial of this shape reports, from a process of its own."""
    from scalecore.execution.folder import AttemptFolder
    from scalecore.planning.build_spec import attempt_spec

    plan.write_data(folder / "data")
    (architecture,) = plan.grid.architectures
    spec = attempt_spec(
        plan,
        mode="train",
        attempt="0-0",
        number=0,
        architecture=architecture.values,
        num_parameters=architecture.num_parameters,
        flops=architecture.flops,
        hyperparameters=plan.fixed,
        seed=0,
        micro_batch=shape.micro_batch,
        data=folder / "data",
        threads=1,
        registry={},
        checkpointing=shape.recompute,
    )
    attempt = AttemptFolder(folder / "attempt")
    attempt.create(spec)
    handle = executor.submit(attempt.path)
    while executor.poll([handle])[0].state == "running":
        time.sleep(0.05)
    result = attempt.read_result("0-0")
    if result is None or result.memory is None or result.batching is None or result.batching.halvings:
        raise SystemExit(f"the attempt of {shape} ended otherwise: {result}\n{attempt.log_tail()}")
    return result.memory.peak or 0


def main() -> None:
    """Predict all shapes, train all but the largest, and show the ratios."""
    from scalecore.execution.local.executor import LocalExecutor
    from scalecore.execution.local.options import LocalOptions

    parser = arguments(__doc__)
    parser.add_argument("--start", choices=("auto", "fork", "spawn"), default="auto", help="of the executor `local`")
    options = parser.parse_args()
    shapes = [("known", shape) for shape in KNOWN] + [("fresh", shape) for shape in fresh()]
    shapes = shapes[:SHORT] if options.short else [*shapes, ("largest", LARGEST)]
    executor = LocalExecutor(LocalOptions(start=options.start), worker="scalecore_torch.worker")
    client = tracing(executor)
    found: list[tuple[str, Shape, TorchPrediction, float, int | None]] = []
    for kind, shape in shapes:
        with tempfile.TemporaryDirectory() as folder:
            plan, runtime = plan_of(shape, Path(folder))
            prediction, seconds = predict(plan, runtime, shape, client)
            peak = measure(plan, shape, Path(folder), executor) if kind != "largest" else None
        found.append((kind, shape, prediction, seconds, peak))
        print(
            f"{shape}: {prediction.bytes / MIB:.0f} MiB, measured {(peak or 0) / MIB:.0f}", file=sys.stderr, flush=True
        )
    executor.close()
    rows = [row(*one, fitted=fitted(one[1], found)) for one in found]
    show(
        "Memory of training on a CPU: predicted and measured peak of the process",
        rows,
        notes=[
            f"processes are started by: {options.start}; torch {torch_build()}",
            *(spread(rows, column) for column in ("predicted/measured", "fitted/measured")),
            *NOTES,
        ],
        path=options.json,
    )


def torch_build() -> str:
    """Its version with the build, which the version of the distribution may lack."""
    import torch

    return str(torch.__version__)


def fitted(shape: Shape, found: Sequence[tuple[str, Shape, TorchPrediction, float, int | None]]) -> int | None:
    """Bytes that a study predicts which has measured the others with the same allocator; None where none was."""
    (own,) = [prediction for _, other, prediction, _, _ in found if other == shape]
    observed = [
        MemoryObservation(tensors=prediction.held or 0, floor=prediction.floor, peak=peak - prediction.offset)
        for _, other, prediction, _, peak in found
        if other != shape and other.recompute == shape.recompute and peak is not None
    ]
    if not observed:
        return None
    return own.correction.fitted(Observations.of(observed)).apply(own.held or 0, floor=own.floor) + own.offset


def row(
    kind: str, shape: Shape, prediction: TorchPrediction, seconds: float, peak: int | None, *, fitted: int | None
) -> dict[str, Any]:
    """All that is known of a shape."""
    sizes = {"tensors": prediction.tensors, "held": prediction.held, "predicted": prediction.bytes}
    sizes |= {"fitted": fitted, "measured": peak}
    return {
        "set": kind,
        "shape": f"d{shape.d_model} L{shape.n_layers} h{shape.n_heads} u{shape.d_ff}",
        "micro_batch": f"{shape.micro_batch} x {shape.accumulation}",
        "dropout": shape.dropout,
        "recompute": "yes" if shape.recompute else "no",
        "seconds": round(seconds, 2),
        **{f"{name}_mib": None if size is None else round(size / MIB) for name, size in sizes.items()},
        **{
            f"{name}/measured": None if size is None or peak is None else round(size / peak, 3)
            for name, size in (("predicted", prediction.bytes), ("fitted", fitted))
        },
    }


def spread(rows: Sequence[Mapping[str, Any]], column: str) -> str:
    """The range of a ratio in both sets, and how many of the shapes are within a tenth."""
    parts = []
    for kind in ("known", "fresh"):
        ratios = [one[column] for one in rows if one["set"] == kind and one[column] is not None]
        near = sum(abs(ratio - 1) <= NEAR for ratio in ratios)
        if ratios:
            parts.append(f"{kind} {min(ratios)} to {max(ratios)}, {near} of {len(ratios)} within {NEAR:.0%}")
    return f"{column}: {'; '.join(parts)}"


if __name__ == "__main__":
    main()
