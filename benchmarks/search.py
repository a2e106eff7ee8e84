"""Which search finds good architectures: regret, optimism, coverage and repeats after 50 trials.

On synthetic surfaces (surfaces.py) under the 20M and the 200M budget with three levels of noise, and on real tables
(tables.py). Every strategy sees the same instances; differences are paired. `best observed` is the trial with the least
observed loss, `recommended` the one with the least posterior mean of the same Gaussian process for all strategies.
Regret is 0 at the best point there is and 1 at the median of random points, without noise. Optimism is the claimed
minus the true loss on that scale: below 0 is too good.
"""

from __future__ import annotations

import math
import multiprocessing
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import report
from surfaces import FAMILIES, Surface, architectures
from tables import TABLES, Table

from scalecore.api.space import Architecture, middle
from scalecore.api.strategy import SearchContext
from scalecore.api.trials import Outcome, TrialState

TRIALS = 50
Point = tuple[Architecture, Mapping[str, Any]]
Problem = Surface | Table
Search = Callable[[Problem, int], list[tuple[Point, float]]]


def ours(**options: Any) -> Search:
    """The strategy `architectural` with these options."""

    def run(problem: Problem, seed: int) -> list[tuple[Point, float]]:
        from scalecore_optuna.options import ArchitecturalOptions
        from scalecore_optuna.strategy import ArchitecturalStrategy

        names = problem.shapes[0].values
        context = SearchContext(
            architectures=problem.shapes,
            dimensions={name: tuple(sorted({shape.values[name] for shape in problem.shapes})) for name in names},
            space=problem.space,
            direction="minimize",
            trials=TRIALS,
            seed=seed,
        )
        strategy = ArchitecturalStrategy(ArchitecturalOptions(**options), context)
        history = []
        for number in range(TRIALS):
            proposal = strategy.ask(number)
            assert proposal is not None
            value = problem.observed(proposal.architecture, proposal.hyperparameters)
            strategy.tell(number, Outcome(state=TrialState.COMPLETED, value=value))
            history.append(((proposal.architecture, proposal.hyperparameters), value))
        return history

    return run


def optuna(kind: str, *, extremes: bool = False) -> Search:
    """A sampler of Optuna over the index of the architecture and the training parameters."""

    def run(problem: Problem, seed: int) -> list[tuple[Point, float]]:
        from optuna.distributions import BaseDistribution, CategoricalDistribution
        from optuna.samplers import BaseSampler, RandomSampler, TPESampler
        from optuna.study import create_study

        from scalecore_optuna.forced import extremes as designs
        from scalecore_optuna.grid import Grid
        from scalecore_optuna.sampler import _hyperparameters

        samplers: dict[str, Callable[[], BaseSampler]] = {
            "tpe": lambda: TPESampler(seed=seed),
            "random": lambda: RandomSampler(seed=seed),
            "recipe": lambda: TPESampler(seed=seed, n_startup_trials=20, multivariate=False),
        }
        space: dict[str, BaseDistribution] = {
            "architecture": CategoricalDistribution(range(len(problem.shapes))),
            **_hyperparameters(problem.space),
        }
        study = create_study(sampler=samplers[kind]())
        if extremes:
            for design in designs(Grid(problem.shapes)):
                middles = {name: middle(distribution) for name, distribution in problem.space.items()}
                study.enqueue_trial({"architecture": problem.shapes.index(design.architecture), **middles})
        history = []
        for _ in range(TRIALS):
            trial = study.ask(space)
            values = dict(trial.params)
            point = (problem.shapes[values.pop("architecture")], values)
            value = problem.observed(*point)
            study.tell(trial, value)
            history.append((point, value))
        return history

    return run


SEARCHES: dict[str, Search] = {
    "frontier": ours(inner="frontier"),
    "frontier, nothing forced": ours(inner="frontier", forced="none"),
    "tpe inside": ours(inner="tpe"),
    "Optuna TPE, index": optuna("tpe"),
    "six extremes, then TPE": optuna("recipe", extremes=True),
    "random": optuna("random"),
}
OURS = next(iter(SEARCHES))


def measure(problem: Problem, history: Sequence[tuple[Point, float]]) -> dict[str, float]:
    """Figures of one run."""
    from scalecore_optuna.grid import Grid
    from scalecore_optuna.surrogate import Surrogate

    best, claimed = min(history, key=lambda one: one[1])
    surrogate = Surrogate(grid=Grid(problem.shapes), space=problem.space)
    observations = [
        surrogate.observation(number, {**shape.values, **values}, value)
        for number, ((shape, values), value) in enumerate(history)
    ]
    found = surrogate.recommend([one for one in observations if one is not None])
    assert found is not None
    recommended = history[found.number][0]
    scale = problem.typical - problem.least
    visits = Counter(shape.id for (shape, _), _ in history)
    exact = Counter((shape.id, tuple(values.items())) for (shape, values), _ in history)
    names = list(problem.shapes[0].values)

    def pairs(shapes: Iterable[Architecture]) -> int:
        cells = {
            (a, b, shape.values[a], shape.values[b])
            for shape in shapes
            for at, a in enumerate(names)
            for b in names[at + 1 :]
        }
        return len(cells)

    return {
        "observed": problem.regret(problem.loss(*best)),
        "recommended": problem.regret(problem.loss(*recommended)),
        "optimism observed": (claimed - problem.loss(*best)) / scale,
        "optimism recommended": (found.value - problem.loss(*recommended)) / scale,
        "architectures": float(len(visits)),
        "share tried": len(visits) / len(problem.shapes),
        "pairs covered": pairs(shape for (shape, _), _ in history) / pairs(problem.shapes),
        "most visits": float(max(visits.values())),
        "exact repeats": float(sum(count - 1 for count in exact.values())),
    }


def task(job: tuple[str, tuple[Any, ...], int]) -> tuple[str, dict[str, dict[str, float]]]:
    """All searches on one instance."""
    kind, arguments, seed = job
    results = {}
    for name, search in SEARCHES.items():
        problem: Problem
        if kind == "surfaces":
            family, budget, noise = arguments
            problem = Surface(family, architectures(budget), noise=noise, seed=seed)
        else:
            problem = Table(*arguments, seed=seed)
        results[name] = measure(problem, search(problem, seed))
    return (arguments[0] if kind == "surfaces" else "real tables"), results


def interval(values: Sequence[float]) -> str:
    """The mean and the half width of its 95 % interval, which one value does not have."""
    array = np.array(values)
    if len(array) == 1:
        return f"{array[0]:+.3f}"
    return f"{array.mean():+.3f} ± {1.96 * array.std(ddof=1) / math.sqrt(len(array)):.3f}"


def rows_of(results: Sequence[dict[str, dict[str, float]]], where: str) -> list[dict[str, Any]]:
    """One row per search: means, and the paired difference of the recommended regret to ours."""
    rows = []
    for name in SEARCHES:
        runs = [result[name] for result in results]
        row: dict[str, Any] = {"where": where, "search": name, "runs": len(runs)}
        for figure in ("recommended", "observed"):
            row[f"regret {figure}"] = interval([run[figure] for run in runs]).lstrip("+")
            paired = [run[figure] - result[OURS][figure] for run, result in zip(runs, results, strict=True)]
            row[f"{figure}, minus frontier"] = "" if name == OURS else interval(paired)
        for figure in list(runs[0])[2:]:
            row[figure] = round(float(np.mean([run[figure] for run in runs])), 3)
        rows.append(row)
    return rows


def main() -> None:
    """Run both benchmarks and print the table."""
    parser = report.arguments(__doc__)
    parser.add_argument("--instances", type=int, default=6, help="instances of each surface, budget and noise")
    parser.add_argument("--repetitions", type=int, default=6, help="repetitions on each real table")
    parser.add_argument("--seed", type=int, default=1, help="first seed; another one draws other instances")
    settings = parser.parse_args()
    instances, repetitions = (1, 1) if settings.short else (settings.instances, settings.repetitions)
    budgets, noises = (("20M",), (0.1,)) if settings.short else (("20M", "200M"), (0.0, 0.1, 0.3))
    jobs: list[tuple[str, tuple[Any, ...], int]] = [
        ("surfaces", (family, budget, noise), settings.seed + instance)
        for instance in range(instances)
        for family in FAMILIES
        for budget in budgets
        for noise in noises
    ]
    tables = TABLES[-1:] if settings.short else TABLES
    jobs += [("tables", table, settings.seed + repetition) for repetition in range(repetitions) for table in tables]
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        done = list(pool.imap_unordered(task, jobs, chunksize=1))
    synthetic = [result for where, result in done if where in FAMILIES]
    rows = rows_of(synthetic, "all surfaces")
    for family in FAMILIES:
        rows += rows_of([result for where, result in done if where == family], family)
    rows += rows_of([result for where, result in done if where == "real tables"], "real tables")
    notes = [
        "Means and 95 % intervals. A difference above 0 says that frontier is ahead; paired over the same instances.",
        "exact repeats: trials that repeat a point; the strategies of scalecore never do. Nothing here is a time.",
    ]
    report.show("Search, 50 trials", rows, notes=notes, path=settings.json)


if __name__ == "__main__":
    main()
