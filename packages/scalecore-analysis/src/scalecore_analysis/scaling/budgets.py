"""The input of a scaling law: the selected configuration of each budget, its runs, and the evidence about them."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from attrs import frozen

from scalecore.api.errors import DataError
from scalecore.api.trials import StudyView, TrialRecord
from scalecore_analysis.edges import edges_of
from scalecore_analysis.runs import Configuration, configurations, metric_of
from scalecore_analysis.scaling.laws import Points
from scalecore_analysis.studies import Ratio, labelled, ratios

__all__ = ["RATES", "BudgetRuns", "Run", "chosen_of", "from_studies", "loss_of", "points_of"]

RATES = ("auc", "pr_auc", "accuracy", "precision", "recall", "f1", "sign_accuracy", "r2")
"""Metrics that are better if larger; the loss is then one minus the metric."""


@frozen(kw_only=True)
class Run:
    """One training: a point of a law."""

    parameters: float
    """Counted (guard G04), or in the unit of the table."""
    loss: float
    windows: float | None = None
    """Training windows seen up to the epoch of the loss; for a table, its tokens or windows."""
    weight: float = 1.0


@frozen(kw_only=True)
class BudgetRuns:
    """One budget, or one cell of a table. Unknown values are None, and results that need them are not computed."""

    label: str
    runs: tuple[Run, ...]
    """The runs of one configuration, one per seed. Only these are averaged."""
    longer: tuple[tuple[Run, ...], ...] = ()
    """Runs of the same configuration with other numbers of epochs, one entry for each: points of a law in D."""
    confirmed: int | None = None
    """Number of retrained configurations."""
    chosen: str | None = None
    """Description of the configuration, and the trials of its runs."""
    fresh: bool | None = None
    searched: float | None = None
    """The loss that selected the configuration."""
    others: tuple[Mapping[str, Any], ...] = ()
    """All completed trials: number, parameters, loss, and aspect if known."""
    within: bool | None = None
    """Whether the counted parameters are within the budget."""
    edges: tuple[str, ...] | None = None
    samples: tuple[int, int | None] | None = None
    """Effective validation windows, and effective windows of the rarer class."""
    baseline: tuple[str, float] | None = None
    identity: Mapping[str, str] | None = None
    """Properties that must be equal in all budgets: data, split, target, metric, each as text."""
    margin: float | None = None
    collapsed: bool | None = None
    diverged: int = 0
    """Trainings on fresh seeds that diverged: the mean excludes them, and is too good."""
    dry: bool | None = None
    efforts: int | None = None
    """Completed trials of the search."""

    @property
    def parameters(self) -> float:
        """The parameters of the configuration."""
        return self.runs[0].parameters

    @property
    def losses(self) -> tuple[float, ...]:
        """One loss per seed."""
        return tuple(run.loss for run in self.runs)

    @property
    def mean(self) -> float:
        return statistics.fmean(self.losses)


def loss_of(value: float, metric: str) -> float:
    """A metric as a loss to minimise."""
    return 1.0 - value if metric in RATES else value


def from_studies(studies: Sequence[StudyView], *, metric: str, seeds: int) -> list[BudgetRuns]:
    """One budget per study, smallest model first. Raises `DataError` for a study without a completed trial."""
    found = [_of_study(label, study, metric=metric, seeds=seeds) for label, study in labelled(studies).items()]
    return sorted(found, key=lambda one: one.parameters)


def _of_study(label: str, study: StudyView, *, metric: str, seeds: int) -> BudgetRuns:
    found = configurations(study, metric)
    chosen = chosen_of(found, metric=metric, seeds=seeds)
    if chosen is None:
        raise DataError(f"{label}: no completed trial has the metric {metric!r}; a scaling law needs one per budget")
    record, data = chosen.first, study.plan.data
    part = data.parts["val"]
    low, high = study.plan.architectures.range
    baseline = data.best_baseline if metric == "val_loss" else None
    searched = metric_of(chosen.searched, metric) if chosen.searched is not None else None
    windows = data.parts["train"].windows
    objective, aspect = study.experiment["objective"], ratios(study).get("aspect")
    return BudgetRuns(
        label=label,
        runs=_runs(chosen, metric=metric, windows=windows),
        longer=tuple(
            _runs(one, metric=metric, windows=windows)
            for one in found
            if one is not chosen and _but_epochs(one) == _but_epochs(chosen)
        ),
        confirmed=sum(one.fresh for one in found),
        chosen=f"{record.architecture.id}; {chosen.numbers}",
        fresh=chosen.fresh,
        searched=None if searched is None else loss_of(searched, metric),
        others=tuple(_point(trial, metric, aspect) for trial in study.trials if metric_of(trial, metric) is not None),
        within=None if low is None or high is None else low <= record.architecture.num_parameters <= high,
        edges=tuple(f"{row['name']} {row['on edge']}" for row in edges_of(study, record) if row["on edge"]),
        samples=(part.effective, part.effective_rarest),
        baseline=None if baseline is None or baseline.loss is None else (baseline.name, baseline.loss),
        identity={
            "data": data.fingerprint,
            "target": data.target.hash,
            "split": data.split.hash,
            "metric": f"{objective['metric']} {objective['direction']} {objective['reduction']}",
        },
        margin=(study.experiment.get("guards") or {}).get("margin"),
        collapsed=chosen.constant > 0,
        diverged=chosen.diverged,
        dry=any(flag.kind == "dry_run" for run in chosen.runs for flag in run.flags),
        efforts=sum(metric_of(trial, metric) is not None for trial in study.trials),
    )


def chosen_of(found: Sequence[Configuration], *, metric: str, seeds: int) -> Configuration | None:
    """The configuration that the search ranked best among those with enough seeds; without replicates its best trial.

    The replicates must not select the configuration: the best of several by its own runs is optimistic, and more so the
    more there are. A budget with five retrained configurations would beat a budget with one. For the same reason a
    configuration whose replicates predict a constant or diverge stays the chosen one, and the preconditions report it;
    only a trial that predicted a constant in the search itself is not chosen (guard G09).
    """
    sign = -1.0 if metric in RATES else 1.0

    def rank(one: Configuration) -> tuple[bool, bool, float]:
        trial = one.searched
        value = metric_of(trial, metric) if trial is not None else None
        healthy = trial is None or not (trial.collapsed or trial.unsupported)
        return not healthy, value is None, 0.0 if value is None else sign * value

    # A configuration that was only transferred from another budget was not selected for this one.
    own = [one for one in found if one.searched or any(run.origin.kind != "transfer" for run in one.runs)] or found
    for least in (seeds, 2, 1):
        enough = [one for one in own if one.trainings >= least]
        if enough:
            return min(enough, key=rank)
    return None


def _but_epochs(one: Configuration) -> tuple[object, ...]:
    """The configuration without its number of epochs."""
    values = {name: value for name, value in one.first.hyperparameters.items() if name != "epochs"}
    return one.first.architecture.id, one.fresh, tuple(sorted(values.items()))


def _runs(one: Configuration, *, metric: str, windows: int) -> tuple[Run, ...]:
    """Each run with its own D, because seeds of one configuration may have different best epochs."""
    epochs = [None if run.best is None else run.best.epoch for run in one.runs]
    return tuple(
        Run(
            parameters=run.architecture.num_parameters,
            loss=loss_of(value, metric),
            windows=float(windows * epoch) if epoch else None,
        )
        for run, value, epoch in zip(one.runs, one.values, epochs, strict=True)
    )


def _point(trial: TrialRecord, metric: str, aspect: Ratio | None) -> dict[str, Any]:
    value = metric_of(trial, metric)
    ratio = None if aspect is None else aspect.of(trial.architecture)
    return {
        "number": trial.number,
        "parameters": trial.architecture.num_parameters,
        "loss": None if value is None else loss_of(value, metric),
        "aspect": float(np.log2(ratio)) if ratio else None,
        "collapsed": trial.collapsed,
    }


def points_of(budgets: Sequence[BudgetRuns]) -> Points:
    """Every run as a point with its own N, D and weight. If D is unknown for some, no law in D can be tested."""
    cells = [cell for one in budgets for cell in (one.runs, *one.longer)]
    runs = [run for cell in cells for run in cell]
    known = all(run.windows for run in runs)
    weights = np.array([run.weight for run in runs])
    return Points(
        parameters=np.array([run.parameters for run in runs], dtype=np.float64),
        windows=np.array([run.windows if known else 1.0 for run in runs], dtype=np.float64),
        losses=np.array([run.loss for run in runs]),
        weights=weights / weights.mean(),
        cells=np.repeat(np.arange(len(cells)), [len(cell) for cell in cells]),
        known=known,
    )
