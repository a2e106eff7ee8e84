"""What measuring the training part at the end of a trial costs, as a share of the trial's CPU time.

One thread, windows of 60 steps with 25 features, PatchTST with dropout. Each round trains some steps of 256 windows and
then measures as many windows, in batches of 512 as at the end of a trial, so that other load on the machine hits both;
the ratio is the median over rounds. The last columns follow from it for trials of 5, 20 and 50 epochs that also
evaluate validation windows, 15.6 % as many as training windows (757 of 4,861), after each epoch.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from report import arguments, show

from scalecore.api.space import DataShape
from scalecore_patchtst.family import PatchTSTFamily
from scalecore_patchtst.options import PatchTSTOptions
from scalecore_torch.testing.training import make_training_plan
from scalecore_torch.training.inference import all_logits
from scalecore_torch.training.tasks import task_named
from scalecore_torch.training.training_loop import TrainingLoop
from scalecore_torch.training.windows import WindowSource, windows_over

SHAPES = {
    "100k": {"d_model": 64, "n_layers": 3, "n_heads": 8, "d_ff": 128},
    "2M": {"d_model": 256, "n_layers": 2, "n_heads": 8, "d_ff": 1024},
    "2M deep": {"d_model": 64, "n_layers": 48, "n_heads": 2, "d_ff": 256},
}
SHAPE = DataShape(context=60, features=25, outputs=1)
BATCH, VALIDATION = 256, 757 / 4861


def loop(shape: dict[str, int], *, windows: int) -> TrainingLoop:
    """A training loop on random data with `windows` training windows."""
    generator = np.random.default_rng(0)
    rows = generator.normal(size=(windows + SHAPE.context - 1, SHAPE.features)).astype(np.float32)
    source: WindowSource = windows_over(rows, context=SHAPE.context)
    source._rows.labels.copy_(torch.from_numpy(generator.integers(0, 2, len(rows)).astype(np.float32)))
    values: dict[str, Any] = {"learning_rate": 1e-4, "weight_decay": 1e-3, "warmup_steps": 10, "epochs": 10_000}
    family = PatchTSTFamily(PatchTSTOptions(patch_len=10, stride=5))
    return TrainingLoop(
        module=family.build(shape, {"dropout": 0.1, "head_dropout": 0.0}, SHAPE),
        task=task_named("binary"),
        plan=make_training_plan(BATCH),
        hyperparameters=values,  # type: ignore[arg-type]  # read by name only
        train=source,
        validation=source,
    )


def seconds(work: Callable[[], object]) -> float:
    """CPU seconds of a call."""
    started = time.process_time()
    work()
    return time.process_time() - started


def train(trainer: TrainingLoop) -> None:
    """One epoch without its evaluation."""
    trainer.progress.step = 0
    for _ in range(trainer.steps_per_epoch):
        trainer.optimizer_step()


def measured(trainer: TrainingLoop) -> object:
    """As at the end of a trial: all logits, loss and metrics."""
    logits = all_logits(trainer.module, trainer.train, batch=512)
    assert logits is not None
    return trainer.task.losses(logits, trainer.train.labels).mean(), trainer.task.metrics(logits, trainer.train.labels)


def main() -> None:
    """Print the table."""
    options = arguments(__doc__).parse_args()
    torch.set_num_threads(1)
    rounds, steps = (2, 2) if options.short else (15, 4)
    windows, rows = steps * BATCH, []
    for name, shape in SHAPES.items():
        trainer = loop(shape, windows=windows)
        pairs = [(seconds(partial(train, trainer)), seconds(partial(measured, trainer))) for _ in range(rounds + 1)]
        pairs = pairs[1:]  # the first round warms up
        ratio = statistics.median(once / epoch for epoch, once in pairs)
        row: dict[str, Any] = {"model": name}
        row |= {"train ms/window": statistics.median(epoch for epoch, _ in pairs) / windows * 1e3}
        row |= {"measure ms/window": statistics.median(once for _, once in pairs) / windows * 1e3, "ratio": ratio}
        row |= {f"% of {n} epochs": 100 * ratio / (n * (1 + VALIDATION * ratio) + ratio) for n in (5, 20, 50)}
        rows.append(row)
    show("Measuring the training part once, against training it", rows, path=options.json)


if __name__ == "__main__":
    main()
