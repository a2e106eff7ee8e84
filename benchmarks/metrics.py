"""What the metrics of an epoch and the intervals of a trial cost, against scikit-learn.

    python benchmarks/metrics.py [--short] [--json PATH]

Per number of validation windows: all metrics of a binary epoch; all of their intervals, once a trial; the interval of
the AUC alone by a bootstrap of 1,000 resamples with scikit-learn, scaled up from some of them. Each time is the least
of several interleaved repetitions, on one thread. Imports are timed in fresh interpreters.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from report import arguments, show
from sklearn.metrics import roc_auc_score

from scalecore_torch.training.intervals import metric_intervals
from scalecore_torch.training.tasks import task_named

OVERLAP = 3
RESAMPLES = 1000


def seconds(work: Callable[[], object]) -> float:
    """How long a call takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def row(windows: int, *, repetitions: int, resamples: int) -> dict[str, Any]:
    """Least times of interleaved repetitions; the loop over scikit-learn makes `resamples` of the 1,000 resamples."""
    generator = torch.Generator().manual_seed(windows)
    labels_N = (torch.rand(windows, generator=generator) < 0.2).float()
    logits_NC = torch.randn(windows, 1, generator=generator) + labels_N[:, None]
    task, indices = task_named("binary"), np.random.default_rng(0).integers(0, windows, size=(resamples, windows))
    labels, scores = labels_N.numpy(), logits_NC[:, 0].numpy()
    works: dict[str, Callable[[], object]] = {
        "metrics of an epoch, s": lambda: task.metrics(logits_NC, labels_N),
        "all intervals, s": lambda: metric_intervals(task, logits_NC, labels_N, overlap=OVERLAP),
        "AUC interval, scikit-learn, s": lambda: [roc_auc_score(labels[i], scores[i]) for i in indices],
    }
    times = dict.fromkeys(works, float("inf"))
    for _ in range(repetitions):
        times = {name: min(times[name], seconds(work)) for name, work in works.items()}
    times["AUC interval, scikit-learn, s"] *= RESAMPLES / resamples
    return {"windows": windows, **times}


def import_seconds(module: str, *, after: str) -> float:
    """Seconds that `module` adds to an interpreter that has imported `after`."""
    code = f"import {after}, time; t = time.perf_counter(); import {module}; print(time.perf_counter() - t)"
    return float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)


def main() -> None:
    """Measure, print, and write what was asked for."""
    options = arguments(__doc__).parse_args()
    torch.set_num_threads(1)
    repetitions, resamples = (2, 20) if options.short else (7, 100)
    sizes = (422, 2_000) if options.short else (422, 2_000, 10_000, 50_000)
    rows = [row(size, repetitions=repetitions, resamples=resamples) for size in sizes]
    added = min(import_seconds("sklearn.metrics", after="torch") for _ in range(repetitions))
    notes = [f"scikit-learn's metrics add {added:.2f} s to an interpreter that has imported torch."]
    show("metrics and intervals of one binary trial", rows, notes=notes, path=options.json)


if __name__ == "__main__":
    main()
