"""Predicted and measured memory of training with other optimizers than AdamW: as benchmarks/memory.py, on the CPU.

Two shapes whose parameters weigh most, and one whose activations do. What an optimizer keeps is known by a trace of
steps with it; `state` is what the closed form counts, in bytes per parameter.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from memory import Shape, measure, plan_of, predict, tracing
from report import arguments, show

from scalecore_torch.memory.correction import MIB

OPTIMIZERS: tuple[Any, ...] = (
    None,
    "torch.optim:SGD",
    {"use": "torch.optim:SGD", "momentum": 0.9},
    "torch.optim:Adam",
    {"use": "torch.optim:Adam", "amsgrad": True},
    "torch.optim:Adagrad",
    "torch.optim:Adafactor",
)
SHAPES = (Shape(512, 8, 8, 1024, 16), Shape(1024, 2, 16, 4096, 8, 2), Shape(64, 24, 4, 256, 256))


def main() -> None:
    """Predict and train each shape with each optimizer."""
    from scalecore.execution.local.executor import LocalExecutor
    from scalecore.execution.local.options import LocalOptions

    options = arguments(__doc__).parse_args()
    executor = LocalExecutor(LocalOptions(), worker="scalecore_torch.worker")
    client = tracing(executor)
    optimizers, shapes = (OPTIMIZERS[:2], SHAPES[-1:]) if options.short else (OPTIMIZERS, SHAPES)
    rows = [row(one._replace(optimizer=optimizer), executor, client) for optimizer in optimizers for one in shapes]
    executor.close()
    ratios = [one["predicted/measured"] for one in rows]
    show(
        "Memory of training with other optimizers: predicted and measured peak of the process",
        rows,
        notes=[f"predicted/measured: {min(ratios)} to {max(ratios)}", "eager, float32, on a shared machine under load"],
        path=options.json,
    )


def row(shape: Shape, executor: Any, client: Any) -> dict[str, Any]:
    """All that is known of a shape with its optimizer."""
    with tempfile.TemporaryDirectory() as folder:
        plan, runtime = plan_of(shape, Path(folder))
        (architecture,) = plan.grid.architectures
        prediction, _ = predict(plan, runtime, shape, client)
        peak = measure(plan, shape, Path(folder), executor)
    own = plan.resolved.training.own  # type: ignore[attr-defined]  # a TorchTrainer
    amsgrad = " amsgrad" if own.optimizer is not None and own.optimizer.options.get("amsgrad") else ""
    momentum = " momentum" if own.optimizer is not None and own.optimizer.options.get("momentum") else ""
    name = "AdamW (default)" if own.optimizer is None else own.optimizer.name
    return {
        "optimizer": f"{name}{amsgrad}{momentum}",
        "shape": f"d{shape.d_model} L{shape.n_layers} u{shape.d_ff}",
        "parameters": architecture.num_parameters,
        "micro_batch": f"{shape.micro_batch} x {shape.accumulation}",
        "state": None if own.optimizer_state is None else round(own.optimizer_state, 2),
        "tensors_mib": round(prediction.tensors / MIB),
        "predicted_mib": round(prediction.bytes / MIB),
        "measured_mib": round(peak / MIB),
        "predicted/measured": round(prediction.bytes / peak, 3),
    }


if __name__ == "__main__":
    main()
