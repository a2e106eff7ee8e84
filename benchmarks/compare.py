"""Rates of the verdicts of `scalecore analyze compare`: are claims as rarely wrong as they say?

    python benchmarks/compare.py [--short] [--json PATH]

Each row draws pairs of studies. The losses of a pair on the same windows differ by a process with the label's span;
each study has five fresh seeds, whose mean has `seeds` times the standard error of the windows.

- `equal`: the studies do not differ; at most 5 % may be called better or worse, in any of six comparisons at once too;
- `margin`: they differ by the margin; at most 5 % may be called equivalent;
- `detectable`: they differ by the mean of the detectable differences that the analysis prints; 80 % should be found.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from intervals import overlapping, persistent
from report import arguments, show

from scalecore.api.statistics import Estimate, difference
from scalecore_analysis.comparing.verdicts import decide, detectable

Floats = npt.NDArray[np.float64]
Draw = Callable[[np.random.Generator, int], Floats]
"""From generator and windows to one series."""

SEEDS = 5
TOGETHER = 6


def labels_of(span: int) -> Draw:
    """Differences that depend on the same `span` rows as their labels."""
    return lambda generator, windows: overlapping(generator, 1, windows, span=span)[0]


def slow(generator: np.random.Generator, windows: int) -> Floats:
    """Differences with long memory."""
    return persistent(generator, 1, windows, weight=0.9)[0]


CASES: tuple[tuple[str, Draw, int], ...] = (
    ("span 1", labels_of(1), 1),
    ("span 5", labels_of(5), 5),
    ("span 20", labels_of(20), 20),
    ("AR(.9)", slow, 1),
)


def standard_error(draw: Draw, *, windows: int) -> float:
    """Of the mean over windows, by simulation."""
    generator = np.random.default_rng(1)
    return float(np.std([draw(generator, windows).mean() for _ in range(2000)]))


def gap(
    generator: np.random.Generator, draw: Draw, *, windows: int, span: int, truth: float, spread: float
) -> Estimate:
    """The estimated difference of two studies; `spread` is that of the seeds."""
    base, own = draw(generator, windows), draw(generator, windows)
    losses = []
    for sign in (1.0, -1.0):
        level = spread * generator.normal(size=(SEEDS, 1)) + sign * truth / 2
        losses.append(base + sign * own / 2 + level + 0.3 * generator.normal(size=(SEEDS, windows)))
    values = [one.mean(axis=1).tolist() for one in losses]
    return difference(*values, losses=(losses[0], losses[1]), overlap=span)


def rates(draw: Draw, *, windows: int, span: int, ratio: float, repetitions: int) -> dict[str, float]:
    """The share of each claim; `ratio` is the standard error of the seeds in that of the windows."""
    generator, error = np.random.default_rng(2), standard_error(draw, windows=windows)
    spread = ratio * error * math.sqrt(SEEDS / 2)

    def gaps(truth: float) -> list[Estimate]:
        return [
            gap(generator, draw, windows=windows, span=span, truth=truth, spread=spread) for _ in range(repetitions)
        ]

    def verdicts(found: list[Estimate], *, margin: float, comparisons: int = 1) -> list[str]:
        seeds = (SEEDS, SEEDS)
        return [decide(one, sign=1.0, seeds=seeds, margin=margin, comparisons=comparisons) for one in found]

    whole = error * math.sqrt(1 + ratio**2)
    equal, apart = gaps(0.0), gaps(4 * whole)
    wrong = [verdict in ("better", "worse") for verdict in verdicts(equal, margin=1e-9)]
    together = [verdict in ("better", "worse") for verdict in verdicts(equal, margin=1e-9, comparisons=TOGETHER)]
    families = np.reshape(together[: len(together) // TOGETHER * TOGETHER], (-1, TOGETHER)).any(axis=1)
    equivalent = [verdict == "equivalent" for verdict in verdicts(apart, margin=4 * whole)]
    least = float(np.mean([detectable(one, comparisons=1) or math.nan for one in equal]))
    found = [verdict == "worse" for verdict in verdicts(gaps(least), margin=1e-9)]
    return {
        "equal: one claim": float(np.mean(wrong)),
        f"equal: any of {TOGETHER}": float(families.mean()),
        "margin: equivalent": float(np.mean(equivalent)),
        "detectable: found": float(np.mean(found)),
    }


def main() -> None:
    """Print the rates of all cases."""
    options = arguments(__doc__).parse_args()
    repetitions = 60 if options.short else 2000
    rows = [
        {"differences": name, "windows": windows, "seeds": ratio}
        | rates(draw, windows=windows, span=span, ratio=ratio, repetitions=repetitions)
        for windows in (150, 500)
        for name, draw, span in CASES
        for ratio in (0.5, 2.0)
    ]
    show(f"Rates of verdicts with {SEEDS} fresh seeds, {repetitions} repetitions", rows, path=options.json)


if __name__ == "__main__":
    main()
