"""The share of the input path in a training step of 2M parameters, and what other ways of making batches take.

64 windows of 60 steps are drawn from 8,000 rows, in random order, on one thread; the clock is CPU time. The step is
that of scalecore-patchtst, eager, float32, without the input path.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from report import arguments, show
from step import BATCH, CONTEXT, Case, step_of

from scalecore_torch.training.windows import WindowSource, open_windows

ROWS = 8_000


def source_of(features: int, folder: Path) -> WindowSource:
    """The training windows of made-up prices, prepared as a study does."""
    from scalecore.api.dataset_options import Split, TargetOptions
    from scalecore.api.panel import Panel
    from scalecore.api.targets import labels, target_of
    from scalecore.data.prepare import prepare

    generator = np.random.default_rng(0)
    close = np.exp(np.cumsum(generator.normal(0, 0.01, ROWS)))
    target = target_of(TargetOptions(kind="direction"))
    panel = Panel(
        name="walk",
        times=np.datetime64("1990-01-01") + np.arange(ROWS).astype("timedelta64[D]"),
        values=np.column_stack([close, generator.normal(size=(ROWS, features - 1))]),
        labels=labels(target, close=close, price=close),
        features=tuple(f"f{i}" for i in range(features)),
        target=target,
        context=CONTEXT,
        split=Split(),
        normalise="standard",
    )
    prepare(panel, folder, min_validation_samples=1, min_validation_positives=1)
    return open_windows(folder)["train"]


class PerItem(torch.utils.data.Dataset[Any]):
    """One window after the other, as most training code has it."""

    def __init__(self, source: WindowSource) -> None:
        x, self.y = source.batch(torch.arange(len(source)))
        self.x = x.clone()

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        return self.x[index], self.y[index]


def microseconds(function: Callable[[], object], *, seconds: float, rounds: int = 5) -> float:
    """CPU time of a call, the least of some rounds."""
    function()
    best = float("inf")
    for _ in range(rounds):
        started, count = time.process_time(), 0
        while count == 0 or time.process_time() - started < seconds:
            function()
            count += 1
        best = min(best, (time.process_time() - started) / count)
    return 1e6 * best


def main() -> None:
    """Measure, and print."""
    options = arguments(__doc__).parse_args()
    seconds = 0.02 if options.short else 0.3
    torch.set_num_threads(1)
    shapes = ((16, 2, 2, 64),) if options.short else ((64, 48, 2, 256), (128, 8, 8, 512), (512, 1, 8, 1024))
    steps = {
        shape: microseconds(step_of("ours", "fp32", "off", Case(*shape)), seconds=2 * seconds, rounds=3)
        for shape in shapes
    }
    rows = []
    for features in (25, 100):
        with tempfile.TemporaryDirectory() as folder:
            source = source_of(features, Path(folder) / "data")
            order = torch.randperm(len(source))[:BATCH]
            buffer = torch.empty(BATCH, CONTEXT, features)
            ours = microseconds(lambda s=source, o=order, b=buffer: s.batch(o, out=b), seconds=seconds)
            fresh = microseconds(lambda s=source, o=order: s.batch(o), seconds=seconds)
            chosen = torch.utils.data.Subset(PerItem(source), order.tolist())
            loader = torch.utils.data.DataLoader(chosen, batch_size=BATCH)
            items = microseconds(lambda one=loader: list(one), seconds=seconds)
        for shape, step in steps.items():
            rows.append(
                {
                    "features": features,
                    **dict(zip(("d_model", "n_layers", "n_heads", "d_ff"), shape, strict=True)),
                    "step ms": step / 1000,
                    "gather us": ours,
                    "share %": 100 * ours / (step + ours),
                    "into new memory us": fresh,
                    "DataLoader us": items,
                }
            )
    notes = [
        "The step is that of 25 features in all rows, which makes the share at 100 features larger than it is.",
        "Least of interleaved rounds of CPU time; others may have used the machine.",
    ]
    show("input path, batch 64, context 60", rows, notes=notes, path=options.json)


if __name__ == "__main__":
    main()
