"""The estimator of scaling laws against the classic grid of starts, and how often the verdict errs.

    python benchmarks/scaling.py [--short] [--only TABLE] [--json PATH]

First table: the law in N and D on simulated losses, fitted by scalecore and by L-BFGS-B from all 4,500 starts of
Hoffmann et al. (2022), on the same objective with the same tolerances and gradient; `--short` takes 90 of the starts.
Second table: simulated studies of every design, 100,000 each (4,000 with `--short`), and how often each verdict is
given; a flat truth may be called `holds` and `violated` in at most 5 % of them each.
Third table: how often the 95 % intervals of the law in N and D hold the true parameters, 200 simulated tables a row.
Fourth table: the rates of a flat truth where the budgets have unequal numbers of confirmed configurations, or of seeds.
The configuration that is judged was chosen by the search, or by the very runs that are judged, as 0.1.0 did.
Fifth table: a campaign of several groups, all flat: how often one verdict at least is a false `holds` or `violated`,
with the error rates of each verdict its own, and with those of all together.
Sixth table: how often the 95 % interval of the change per decade contains the truth, over seeds only and over seeds and
windows. The losses of all budgets share one process over windows and have one of their own each, of the same kind.
Seventh table: rates of the verdicts where losses vary with the windows too (500 of them, margin three standard errors
of a mean), by tests over seeds only, as in 0.1.0, and over seeds and windows. What the budgets do not share is a
process of each, or one that grows with size, or one of the largest budget alone.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
from report import arguments, show
from scipy.optimize import minimize
from scipy.signal import lfilter
from threadpoolctl import threadpool_limits

from scalecore.api.statistics import mean_errors
from scalecore_analysis.scaling.assess import pooled_variance, trend_of
from scalecore_analysis.scaling.budgets import BudgetRuns, Run
from scalecore_analysis.scaling.estimator import DELTA, SCALE, fit, huber
from scalecore_analysis.scaling.isotonic import null_of
from scalecore_analysis.scaling.laws import LAWS, Floats, Points
from scalecore_analysis.scaling.power import truth_of
from scalecore_analysis.scaling.resampling import resampled, widened
from scalecore_analysis.scaling.seeds_and_windows import SeedsAndWindows
from scalecore_analysis.scaling.verdict import CONFIDENCE, LEVEL, SIMULATED, Seeds, classify, decide, rates
from scalecore_analysis.scaling.windows import WindowErrors

TRUTH = (np.log(406.4), np.log(410.7), np.log(1.69), 0.34, 0.28)
"""log A, log B, log E, alpha, beta of Hoffmann et al. (2022)."""
CHOICES = [
    ((1, 1, 1), (5, 5, 5)),
    ((3, 3, 3), (5, 5, 5)),
    ((3, 1, 1), (5, 5, 5)),
    ((5, 1, 1), (5, 5, 5)),
    ((1, 1, 5), (5, 5, 5)),
    ((5, 3, 1), (3, 3, 3)),
    ((10, 5, 1, 1), (5, 5, 5, 5)),
    ((5, 1, 1), (3, 5, 10)),
    ((1, 1, 1), (3, 5, 10)),
]
"""Numbers of confirmed configurations and of seeds, of each budget."""


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


def chosen_rates(confirmed: Sequence[int], seeds: Sequence[int], *, by_search: bool, sets: int) -> dict[str, float]:
    """How often a flat truth is called what."""
    found = flat_verdicts(confirmed, seeds, by_search=by_search, sets=sets)
    return {name: float((found == code).mean()) for code, name in enumerate(SIMULATED)}


def flat_verdicts(
    confirmed: Sequence[int], seeds: Sequence[int], *, by_search: bool, sets: int, together: int = 1
) -> npt.NDArray[np.int64]:
    """Verdicts on flat truths, in units of the seeds' spread; every search adds one run of each configuration, for
    whose value it is chosen."""
    generator = np.random.default_rng(5)
    means, squares = [], np.zeros(sets)
    for count, runs in zip(confirmed, seeds, strict=True):
        fresh = generator.standard_normal((sets, count)) / np.sqrt(runs)
        searched = generator.standard_normal((sets, count))
        means.append(fresh[np.arange(sets), (searched if by_search else fresh).argmin(axis=1)])
        squares += generator.chisquare(runs - 1, size=sets)
    return classify(
        np.stack(means, axis=1),
        seeds=seeds,
        variance=squares / (sum(seeds) - len(seeds)),
        margin=np.ones(sets),
        null=null_of(seeds),
        verdicts=together,
    )


def groups(short: bool) -> list[dict[str, Any]]:
    """The fifth table."""
    rows = []
    campaigns = 2_000 if short else 50_000
    for count, (confirmed, seeds) in product((1, 2, 3, 6), (((1, 1, 1), (5, 5, 5)), ((5, 1, 1), (3, 5, 10)))):
        for together in (1, count) if count > 1 else (1,):
            found = flat_verdicts(confirmed, seeds, by_search=True, sets=count * campaigns, together=together)
            one = found.reshape(campaigns, count)
            rows.append({"groups": count, "confirmed": " ".join(map(str, confirmed))})
            rows[-1] |= {"seeds": " ".join(map(str, seeds)), "errors of": "all together" if together > 1 else "each"}
            rows[-1] |= {
                name: float((one == SIMULATED.index(name)).any(axis=1).mean()) for name in ("holds", "violated")
            }
    return rows


def choices(short: bool) -> list[dict[str, Any]]:
    """The fourth table."""
    rows = []
    sets = 4_000 if short else 100_000
    for confirmed, seeds in CHOICES:
        for by_search in (True, False):
            found = chosen_rates(confirmed, seeds, by_search=by_search, sets=sets)
            rows.append({"confirmed": " ".join(map(str, confirmed)), "seeds": " ".join(map(str, seeds))})
            rows[-1] |= {"chosen by": "the search" if by_search else "the judged runs"}
            rows[-1] |= {name: found[name] for name in ("holds", "violated", "flat", "inconclusive")}
    return rows


def covered(short: bool) -> list[dict[str, Any]]:
    """The third table."""
    law, rows = LAWS["N and D"], []
    truth = {"E": 1.8, "A": 480.0, "alpha": 0.35, "B": 2100.0, "beta": 0.37}
    tables = 20 if short else 200
    for (design, per_cell), noise in product((("4 x 4 x 2", 2), ("4 x 4 x 5", 5), ("120 single", 0)), (1e-4, 1e-2)):
        held = dict.fromkeys(truth, 0)
        for seed in range(tables):
            generator = np.random.default_rng(seed)
            n, d = 10 ** generator.uniform(6, 9, 120), 10 ** generator.uniform(8, 11, 120)
            if per_cell:
                grid = np.array(list(product(10.0 ** np.arange(6, 10), 10.0 ** np.arange(8, 12))))
                n, d = np.repeat(grid, per_cell, axis=0).T
            mean = truth["E"] + truth["A"] * n ** -truth["alpha"] + truth["B"] * d ** -truth["beta"]
            losses = mean * np.exp(noise * generator.standard_normal(len(n)))
            fitted = fit(law, Points(parameters=n, windows=d, losses=losses))
            draws = fitted.natural(widened(fitted, resampled(fitted, resamples=400, seed=seed)))
            for name, value in truth.items():
                low, high = np.quantile(draws[name], (0.025, 0.975))
                held[name] += bool(low <= value <= high)
        rows.append({"table": design, "noise": noise} | {name: count / tables for name, count in held.items()})
    return rows


def trends(short: bool) -> list[dict[str, Any]]:
    """The sixth table."""
    rows = []
    campaigns, budgets, windows, warm = (200 if short else 2_000), 3, 500, 300
    for own, spread, memory in product((0.2, 1.0), (0.05, 0.005), (0.0, 0.5, 0.9)):
        generator = np.random.default_rng(6)
        held = {"seeds": 0, "seeds and windows": 0}
        for _ in range(campaigns):
            noise = generator.standard_normal((budgets + 1, windows + warm))
            process = lfilter([(1 - memory**2) ** 0.5], [1, -memory], noise)[:, warm:]
            series = 10 + process[:1] + own * process[1:]
            seeds = series.mean(axis=1)[:, None] + spread * generator.standard_normal((budgets, 5))
            cells = [
                BudgetRuns(label="", runs=tuple(Run(parameters=10.0**index, loss=loss) for loss in row))
                for index, row in enumerate(seeds.tolist())
            ]
            errors = WindowErrors(projections=mean_errors(series, overlap=1))
            for name, known in (("seeds", "left out"), ("seeds and windows", errors)):
                found = trend_of(cells, variance=pooled_variance(cells)[0], windows=known)
                held[name] += found.low <= 0 <= found.high
        rows.append({"own / shared": own, "spread of seeds": spread, "AR(1)": memory})
        rows[-1] |= {name: count / campaigns for name, count in held.items()}
    return rows


def window_losses(generator: np.random.Generator, *, shape: str, memory: float) -> Floats:
    """Losses [3, 500] around 0: a process that all budgets share, and half as much of what they do not."""
    noise = generator.standard_normal((4, 800))
    process = lfilter([(1 - memory**2) ** 0.5], [1, -memory], noise)[:, 300:]
    own = {
        "each its own": process[1:],
        "growing with size": np.linspace(-1, 1, 3)[:, None] * process[1],
        "largest alone": np.array([0.0, 0.0, 1.0])[:, None] * process[1],
    }[shape]
    return process[0] + 0.5 * own


def windows(short: bool) -> list[dict[str, Any]]:
    """The seventh table."""
    rows, seeds = [], [5, 5, 5]
    over_seeds, shapes = null_of(seeds), ("each its own", "growing with size", "largest alone")
    for step, shape, memory in product((0.0, -2.0), shapes, (0.0, 0.9)):
        counts = {"seeds": np.zeros(4), "seeds and windows": np.zeros(4)}
        generator = np.random.default_rng(8)
        error = 0.5 * ((1 + memory) / (1 - memory) / 500) ** 0.5
        campaigns = 100 if short else 400
        for _ in range(campaigns):
            losses = window_losses(generator, shape=shape, memory=memory)
            spread = 0.5 * error * 5**0.5
            means = losses.mean(axis=1) + spread * generator.standard_normal((3, 5)).mean(axis=1)
            means += step * error * np.arange(3)
            variance = spread**2 * generator.chisquare(12) / 12
            both = SeedsAndWindows(seeds=seeds, variance=variance, projections=mean_errors(losses, overlap=1))
            for name, varied, null in (
                ("seeds", Seeds(seeds=seeds, variance=variance), over_seeds),
                ("seeds and windows", both, both.null(draws=4_000)),
            ):
                equal, ordered = varied.statistics(means)
                code = decide(
                    means[None],
                    margin=np.array([3 * error]),
                    found=(np.array([equal]), np.array([ordered])),
                    critical=null.critical(LEVEL),
                    width=partial(varied.width, level=CONFIDENCE),
                )
                counts[name][code] += 1
        for name, count in counts.items():
            rows.append(
                {"truth": "falling" if step else "flat", "not shared": shape, "AR(1)": memory, "tests over": name}
            )
            rows[-1] |= dict(zip(map(str, SIMULATED), (count / campaigns).tolist(), strict=True))
    return rows


TABLES = {
    "estimator": ("The law in N and D: scalecore against the classic grid of starts, smaller is better", estimator),
    "verdict": ("Rates of the verdicts; margin one spread of the seeds", verdicts),
    "coverage": ("How often the 95 % intervals of the law in N and D hold the truth", covered),
    "groups": ("Campaigns of flat groups in which at least one verdict is false", groups),
    "windows": ("Rates of the verdicts with variation over windows", windows),
    "trend": ("How often the 95 % interval of the change per decade contains the truth", trends),
    "choice": ("Rates of a flat truth, by what chose the configuration that is judged", choices),
}


def main() -> None:
    """All tables, or one; the JSON of each is named after it."""
    parser = arguments(__doc__)
    parser.add_argument("--only", choices=TABLES, help="one table")
    given = parser.parse_args()
    with threadpool_limits(1):
        for name, (title, table) in TABLES.items():
            if given.only in (None, name):
                path = given.json and given.json.with_name(f"{given.json.stem}_{name}.json")
                show(title, table(given.short), path=path)


if __name__ == "__main__":
    main()
