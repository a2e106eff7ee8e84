"""The estimator of scaling laws against the classic grid of starts, and how often the verdict errs.

    python benchmarks/scaling.py [--short] [--json PATH]

First table: the law in N and D on simulated losses, fitted by scalecore and by L-BFGS-B from all 4,500 starts of
Hoffmann et al. (2022), on the same objective with the same tolerances and gradient; `--short` takes 90 of the starts.
Second table: simulated studies of every design, 100,000 each (4,000 with `--short`), and how often each verdict is
given; a flat truth may be called `holds` and `violated` in at most 5 % of them each.
"""

from __future__ import annotations

import time
from itertools import product
from typing import Any

import numpy as np
from report import arguments, show
from scipy.optimize import minimize
from threadpoolctl import threadpool_limits

from scalecore_analysis.scaling.estimator import DELTA, SCALE, fit, huber
from scalecore_analysis.scaling.laws import LAWS, Floats, Points
from scalecore_analysis.scaling.power import truth_of
from scalecore_analysis.scaling.verdict import rates

TRUTH = (np.log(406.4), np.log(410.7), np.log(1.69), 0.34, 0.28)
"""log A, log B, log E, alpha, beta of Hoffmann et al. (2022)."""


def losses(runs: int, *, noise: float) -> Points:
    """Simulated losses of the truth over three decades of N and two and a half of D."""
    generator = np.random.default_rng(0)
    n, d = 10 ** generator.uniform(7, 10, runs), 10 ** generator.uniform(9, 11.5, runs)
    a, b, e, alpha, beta = TRUTH
    mean = np.exp(e) + np.exp(a) * n**-alpha + np.exp(b) * d**-beta
    return Points(parameters=n, windows=d, losses=mean * np.exp(noise * generator.standard_normal(runs)))


def classic(points: Points, starts: list[tuple[float, ...]]) -> tuple[Floats, float]:
    """The objectives that the starts reach, and the seconds they took together."""
    n, d, target = np.log(points.parameters), np.log(points.windows), np.log(points.losses)

    def value(theta: Floats) -> tuple[float, Floats]:
        a, b, e, alpha, beta = theta
        terms = np.stack([a - alpha * n, b - beta * d, np.full_like(n, e)])
        predicted = np.logaddexp.reduce(terms)
        share = np.exp(terms - predicted)
        pull = np.clip(predicted - target, -DELTA, DELTA)
        one, two, three = share @ pull
        gradient = np.array([one, two, three, -(share[0] * n) @ pull, -(share[1] * d) @ pull])
        return SCALE * float(huber(predicted - target, DELTA).sum()), SCALE * gradient

    began = time.perf_counter()
    options = {"ftol": 1e-15, "gtol": 1e-9, "maxiter": 5000}
    found = [minimize(value, np.array(start), jac=True, method="L-BFGS-B", options=options).fun for start in starts]
    return np.array(found) / SCALE, time.perf_counter() - began


def estimator(short: bool) -> list[dict[str, Any]]:
    """The first table."""
    grid = [np.arange(0, 30, 5), np.arange(0, 30, 5), np.arange(-1, 1.5, 0.5), np.arange(0, 2.5, 0.5)]
    starts = [tuple(map(float, start)) for start in product(*grid, grid[3])]
    rows = []
    for runs, noise in ((40, 0.0), (60, 0.02), (240, 0.01)):
        points = losses(runs, noise=noise)
        began = time.perf_counter()
        found = fit(LAWS["N and D"], points)
        seconds = time.perf_counter() - began
        objectives, classic_seconds = classic(points, starts[::50] if short else starts)
        best = float(objectives.min())
        rows.append(
            {
                "runs": runs,
                "noise": noise,
                "objective": found.objective,
                "seconds": seconds,
                "starts": len(objectives),
                "best of them": best,
                "reach it": float((objectives <= best * (1 + 1e-6)).mean()),
                "their seconds": classic_seconds,
                "ours / best - 1": found.objective / best - 1 if best > 1e-20 else None,
            }
        )
    return rows


def verdicts(short: bool) -> list[dict[str, Any]]:
    """The second table."""
    rows = []
    for kind, step in (("flat", 0.0), ("falling", 1.0), ("falling", 2.0), ("rising at the end", 1.0)):
        for budgets, seeds in ((3, 3), (3, 5), (3, 10), (4, 5), (5, 5), (6, 10)):
            truth = truth_of(kind, step, budgets)
            found = rates(truth, seeds=seeds, margin=1.0, sets=4_000 if short else 100_000)
            rows.append({"truth": kind, "step / spread": step, "budgets": budgets, "seeds": seeds})
            rows[-1] |= {"holds": found.holds, "violated": found.violated, "flat": found.flat}
            rows[-1]["inconclusive"] = found.inconclusive
    return rows


def main() -> None:
    """Both tables."""
    given = arguments(__doc__).parse_args()
    with threadpool_limits(1):
        show(
            "The law in N and D: scalecore against the classic grid of starts, smaller is better",
            estimator(given.short),
            path=given.json and given.json.with_name(f"{given.json.stem}_estimator.json"),
        )
        show("Rates of the verdicts; margin one spread of the seeds", verdicts(given.short), path=given.json)


if __name__ == "__main__":
    main()
