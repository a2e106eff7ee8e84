"""What enters a scaling law: of each budget the configuration that was chosen, its runs, and what speaks for them."""

from __future__ import annotations

import csv
import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from attrs import frozen

from scalecore.errors import DataError
from scalecore.texts import best_baseline
from scalecore.trials import StudyView, TrialRecord
from scalecore_analysis.edges import edges_of
from scalecore_analysis.runs import Configuration, configurations, metric_of
from scalecore_analysis.scaling.laws import Points
from scalecore_analysis.studies import Ratio, labelled, ratios

__all__ = ["BudgetRuns", "from_studies", "from_table", "loss_of", "points_of"]

RATES = ("auc", "pr_auc", "accuracy", "precision", "recall", "f1", "sign_accuracy", "r2")
"""Metrics of which more is better: one minus them takes the place of a loss."""


@frozen(kw_only=True)
class BudgetRuns:
    """One budget. What is not known is None: then nothing that needs it can be said."""

    label: str
    parameters: int
    """Counted, of the chosen configuration (guard G04)."""
    losses: tuple[float, ...]
    """One for each seed."""
    windows: float | None = None
    """Training windows seen, up to the epoch that the loss is of."""
    chosen: str | None = None
    """The configuration, in words, and the trials of its runs."""
    fresh: bool | None = None
    searched: float | None = None
    """The loss for which the configuration was chosen."""
    others: tuple[Mapping[str, Any], ...] = ()
    """All completed trials: number, parameters, loss, aspect where there is one."""
    within: bool | None = None
    """Whether the counted parameters are in the budget's range."""
    edges: tuple[str, ...] | None = None
    samples: tuple[int, int | None] | None = None
    """Effective validation windows, and those of the rarer class."""
    baseline: tuple[str, float] | None = None
    identity: Mapping[str, str] | None = None
    """What must be the same in all budgets: data, split, target, metric, each as text."""
    margin: float | None = None
    collapsed: bool | None = None
    dry: bool | None = None
    efforts: int | None = None
    """Completed trials of the search."""

    @property
    def mean(self) -> float:
        return statistics.fmean(self.losses)


def loss_of(value: float, metric: str) -> float:
    """A metric as something to be made small."""
    return 1.0 - value if metric in RATES else value


def from_studies(studies: Sequence[StudyView], *, metric: str, seeds: int) -> list[BudgetRuns]:
    """One budget for each study, the smallest model first. Raises `DataError` for a study without a completed trial."""
    found = [_of_study(label, study, metric=metric, seeds=seeds) for label, study in labelled(studies).items()]
    return sorted(found, key=lambda one: one.parameters)


def _of_study(label: str, study: StudyView, *, metric: str, seeds: int) -> BudgetRuns:
    chosen = _chosen(study, metric=metric, seeds=seeds)
    if chosen is None:
        raise DataError(
            f"{label}: no completed trial has the metric {metric!r}; a scaling law needs one of each budget"
        )
    record, data = chosen.first, study.plan["data"]
    part = data["split"]["parts"]["val"]
    low, high = study.plan["architectures"]["range"]
    baseline = best_baseline(data) if metric == "val_loss" else None
    searched = metric_of(chosen.searched, metric) if chosen.searched is not None else None
    epochs = _mean([(run.best or {}).get("epoch") for run in chosen.runs])
    windows = data["split"]["parts"]["train"]["windows"]
    objective, aspect = study.experiment["objective"], ratios(study).get("aspect")
    return BudgetRuns(
        label=label,
        parameters=record.architecture.num_parameters,
        losses=tuple(loss_of(value, metric) for value in chosen.values),
        windows=windows * epochs if epochs else None,
        chosen=f"{record.architecture.id}; {chosen.numbers}",
        fresh=chosen.fresh,
        searched=None if searched is None else loss_of(searched, metric),
        others=tuple(_point(trial, metric, aspect) for trial in study.trials if metric_of(trial, metric) is not None),
        within=None if low is None else low <= record.architecture.num_parameters <= high,
        edges=tuple(f"{row['name']} {row['on edge']}" for row in edges_of(study, record) if row["on edge"]),
        samples=(part["effective"], part.get("effective_rarest")),
        baseline=(baseline["name"], float(baseline["loss"])) if baseline else None,
        identity={
            "data": data["fingerprint"],
            "target": data["target"]["hash"],
            "split": data["split"]["hash"],
            "metric": f"{objective['metric']} {objective['direction']} {objective['reduction']}",
        },
        margin=(study.experiment.get("guards") or {}).get("margin"),
        collapsed=any(run.collapsed for run in chosen.runs),
        dry=any(flag.get("kind") == "dry_run" for run in chosen.runs for flag in run.flags),
        efforts=sum(metric_of(trial, metric) is not None for trial in study.trials),
    )


def _chosen(study: StudyView, *, metric: str, seeds: int) -> Configuration | None:
    """The configuration with the best mean of those with enough seeds; else the best trial of the search."""
    sign = -1.0 if metric in RATES else 1.0
    found = configurations(study, metric)
    healthy = [one for one in found if not any(run.collapsed for run in one.runs)] or found
    for least in (seeds, 2, 1):
        enough = [one for one in healthy if len(one.values) >= least]
        if enough:
            return min(enough, key=lambda one: sign * one.mean)
    return None


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


def from_table(path: Path) -> list[BudgetRuns]:
    """Budgets of a CSV file with one row for each run: `parameters` (counted) and `loss`, `budget` and `windows` where
    they are known. Runs of one budget, or without it of one count, belong together.

    Such a table says nothing of data, split, edges, samples or baselines: what needs them stays open. Raises
    `DataError` with the line of what is wrong.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream)
            rows = [(reader.line_num, row) for row in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as CSV: {error}") from error
    missing = [name for name in ("parameters", "loss") if not rows or name not in rows[0][1]]
    if missing:
        raise DataError(f"{path}: no column {missing[0]!r}; it needs `parameters` and `loss`, one row for each run")
    groups: dict[str, list[tuple[float, float, float | None]]] = {}
    for line, row in rows:
        try:
            parameters, loss = float(row["parameters"]), float(row["loss"])
            windows = float(row["windows"]) if row.get("windows") else None
        except (TypeError, ValueError):
            raise DataError(f"{path}:{line}: parameters, loss and windows must be numbers: {row}") from None
        if not all(0 < number < math.inf for number in (parameters, loss, 1.0 if windows is None else windows)):
            raise DataError(f"{path}:{line}: parameters, loss and windows must be finite and above zero: {row}")
        if parameters != round(parameters):
            raise DataError(f"{path}:{line}: parameters are counted, so a whole number such as 2417473: {row}")
        groups.setdefault(row.get("budget") or f"{parameters:.0f}", []).append((parameters, loss, windows))
    found = [
        BudgetRuns(
            label=label,
            parameters=round(statistics.fmean(parameters for parameters, _, _ in group)),
            losses=tuple(loss for _, loss, _ in group),
            windows=_mean([windows for _, _, windows in group]),
        )
        for label, group in groups.items()
    ]
    return sorted(found, key=lambda one: one.parameters)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if len(known) == len(values) else None


def points_of(budgets: Sequence[BudgetRuns]) -> Points:
    """One point for each run. Without a known number of windows D is 1 everywhere, and no law in D can be tested."""
    counts = [len(one.losses) for one in budgets]
    known = all(one.windows for one in budgets)
    return Points(
        parameters=np.repeat(np.array([one.parameters for one in budgets], dtype=np.float64), counts),
        windows=np.repeat(np.array([one.windows if known else 1.0 for one in budgets], dtype=np.float64), counts),
        losses=np.array([loss for one in budgets for loss in one.losses]),
        budgets=np.repeat(np.arange(len(budgets)), counts),
    )
