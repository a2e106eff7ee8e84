"""Time of one ask and one tell of the strategy `architectural`, without a database, by trials in the study.

A study of so many finished trials is restored; then trials are asked for and told one after another. The kernel of
`frontier` is fitted anew now and then, so the longest ask is shown beside the median.
"""

from __future__ import annotations

import os
import statistics
import time
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import report
from surfaces import SPACE, Surface, architectures

from scalecore.api.space import Architecture
from scalecore.api.strategy import SearchContext
from scalecore.api.trials import Origin, Outcome, Proposal, RestoredTrial, TrialState

LIMITS = {1000: 30.0, 5000: 100.0}
"""Milliseconds per ask and tell that the project has set itself."""


def history(shapes: list[Architecture], count: int) -> list[RestoredTrial]:
    """A journal of so many completed trials at random points."""
    import numpy as np

    surface = Surface("well", shapes, noise=0.1, seed=1)
    draw = np.random.default_rng(0)
    trials = []
    for number in range(count):
        proposal = Proposal(
            architecture=shapes[int(draw.integers(len(shapes)))],
            hyperparameters={name: distribution.at(float(draw.random())) for name, distribution in SPACE.items()},
            origin=Origin(kind="sampled"),
        )
        value = surface.observed(proposal.architecture, proposal.hyperparameters)
        outcome = Outcome(state=TrialState.COMPLETED, value=value)
        trials.append(RestoredTrial(number=number, proposal=proposal, outcome=outcome))
    return trials


def measure(inner: str, count: int, *, asks: int) -> dict[str, Any]:
    """Median and longest of `asks` asks and tells, in milliseconds, and the time to restore, in seconds."""
    from scalecore_optuna.options import ArchitecturalOptions
    from scalecore_optuna.strategy import ArchitecturalStrategy

    shapes = list(architectures("20M"))
    surface = Surface("well", shapes, noise=0.1, seed=2)
    context = SearchContext(
        architectures=shapes,
        dimensions={name: tuple(sorted({shape.values[name] for shape in shapes})) for name in shapes[0].values},
        space=SPACE,
        direction="minimize",
        trials=count + asks,
        seed=1,
    )
    strategy = ArchitecturalStrategy(ArchitecturalOptions(inner=inner, forced="none", startup_trials=1), context)
    trials = history(shapes, count)
    began = time.perf_counter()
    strategy.restore(trials)
    _ = strategy.study
    restored = time.perf_counter() - began
    processor, wall, told = [], [], []
    for number in range(count, count + asks):
        began, busy = time.perf_counter(), time.thread_time()
        proposal = strategy.ask(number)
        outside, between = time.perf_counter() - began, time.thread_time() - busy
        assert proposal is not None
        value = surface.observed(proposal.architecture, proposal.hyperparameters)
        began, busy = time.perf_counter(), time.thread_time()
        strategy.tell(number, Outcome(state=TrialState.COMPLETED, value=value))
        told.append(1e3 * (time.thread_time() - busy))
        wall.append(1e3 * (outside + time.perf_counter() - began))
        processor.append(1e3 * between + told[-1])
    limit = LIMITS.get(count)
    median = statistics.median(processor[1:])
    return {
        "inner": inner,
        "trials": count,
        "ask + tell ms": round(median, 1),
        "of it tell ms": round(statistics.median(told[1:]), 2),
        "longest ms": round(max(processor[1:]), 1),
        "limit ms": limit,
        "within": None if limit is None else median <= limit,
        "by the clock ms": round(statistics.median(wall[1:]), 1),
        "restore s": round(restored, 2),
    }


def main() -> None:
    """Measure every inner sampler at every size."""
    parser = report.arguments(__doc__)
    settings = parser.parse_args()
    sizes = (10, 100) if settings.short else (10, 100, 1000, 5000)
    asks = 5 if settings.short else 41
    inners = ("frontier", "tpe", "random", "qmc")
    rows = [measure(inner, count, asks=asks) for inner in inners for count in sizes]
    notes = [
        "Processor time of the thread, and time by the clock: the load of the machine is told below.",
        "The first ask, which imports and gathers, is left out. TPE's time is Optuna's own for the most part.",
    ]
    report.show(f"Ask and tell, {asks - 1} times, 20M grid, 4 hyper-parameters", rows, notes=notes, path=settings.json)


if __name__ == "__main__":
    main()
