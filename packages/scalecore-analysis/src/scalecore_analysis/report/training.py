"""Effects of the training parameters (rank correlation, importance), distribution of the objective, learning curves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from scalecore.api.markdown import cell
from scalecore.api.trials import TrialRecord
from scalecore_analysis.report.section import Row, Section, Subject, finite
from scalecore_analysis.vega import GREY, Point, Series, Spec, figure, histogram

__all__ = ["distribution", "learning_curves", "rank_correlation", "sensitivity"]

FEWEST = 4
"""Minimum number of completed trials for a rank correlation."""
FEWEST_FOR_INTERVAL = 10
"""With fewer trials the normal approximation of the interval is poor."""
CURVES = 10
FAINT = 40


def sensitivity(subject: Subject) -> Section:
    """Spearman's rank correlation of the objective with each training parameter, and its importance to a forest."""
    from scalecore_analysis.report.importance import importance

    names = list(dict.fromkeys(name for trial in subject.completed for name in trial.hyperparameters))
    known = subject.study.plan.space
    names = list(dict.fromkeys([*known, *names]))
    sentence, found = importance(subject)
    rows = []
    for name in names:
        row = {"parameter": name, **_correlation(subject, name)}
        row |= dict(zip(("importance", "lowest", "highest"), found.get(name, (None,) * 3), strict=True))
        rows.append(row)
    text = [
        f"Spearman's rank correlation with {subject.metric} over completed trials, with its 95 % confidence interval. "
        "The search selects its points, so a correlation describes these trials and does not prove a cause.",
        sentence,
    ]
    dimensions = [
        {"dimension": name, "importance": mean, "lowest": low, "highest": high}
        for name, (mean, low, high) in found.items()
        if name not in names
    ]
    return Section(
        title="Sensitivity",
        text=text,
        tables={"Training parameters": rows, **({"Importance of dimensions": dimensions} if dimensions else {})},
        data={"parameters": rows, "dimensions": dimensions, "importance": sentence},
    )


def _correlation(subject: Subject, name: str) -> Row:
    pairs = [(t.hyperparameters[name], float(t.value or 0.0)) for t in subject.completed if name in t.hyperparameters]
    row: Row = {"trials": len(pairs), "correlation": None, "low": None, "high": None, "note": None}
    different = {value for value, _ in pairs}
    numeric = [(number, value) for given, value in pairs if (number := finite(given)) is not None]
    varied = name in subject.study.plan.space
    if len(pairs) < FEWEST and (varied or len(different) != 1):
        row["note"] = "too few completed trials"
    elif len(different) == 1:
        row["note"] = f"not varied ({cell(next(iter(different)))})"
    elif len(numeric) < len(pairs):
        row["note"] = "not numeric; best per value: " + _best_by_value(subject, pairs)
    else:
        found = rank_correlation([at for at, _ in numeric], [value for _, value in numeric])
        if found is None:
            row["note"] = "all trials have the same value"
        else:
            row |= dict(zip(("correlation", "low", "high"), found, strict=True))
            row["note"] = None if found[1] is not None else f"no interval below {FEWEST_FOR_INTERVAL} trials"
    return row


def _best_by_value(subject: Subject, pairs: Sequence[tuple[Any, float]]) -> str:
    best = {str(given): subject.better(v for at, v in pairs if str(at) == str(given)) for given, _ in pairs}
    return ", ".join(f"{given} {value:.4g}" for given, value in sorted(best.items()))


def rank_correlation(
    first: Sequence[float], second: Sequence[float]
) -> tuple[float, float | None, float | None] | None:
    """Spearman's correlation with its 95 % confidence interval; None if one side is constant.

    The interval uses Fisher's z with the standard error of Bonett and Wright (2000, Sample size requirements for
    estimating Pearson, Kendall and Spearman correlations), sqrt((1 + r^2 / 2) / (n - 3)).
    """
    from scipy.stats import spearmanr

    if len(set(first)) < 2 or len(set(second)) < 2:
        return None
    r = float(spearmanr(first, second).statistic)
    if len(first) < FEWEST_FOR_INTERVAL or abs(r) > 1 - 1e-12:
        return r, None, None
    half = 1.959964 * np.sqrt((1 + r * r / 2) / (len(first) - 3))
    return r, float(np.tanh(np.arctanh(r) - half)), float(np.tanh(np.arctanh(r) + half))


def distribution(subject: Subject) -> Section:
    """Minimum, quartiles, maximum, mean and standard deviation of the objective over the completed trials."""
    values = subject.values
    if not values:
        return Section(title="Distribution", text=["No trial has completed."], data=None)
    q1, median, q3 = np.quantile(values, (0.25, 0.5, 0.75)).tolist()
    row: Row = {"trials": len(values), "smallest": min(values), "lower quartile": q1, "median": median}
    row |= {"upper quartile": q3, "largest": max(values), "mean": float(np.mean(values))}
    row["standard deviation"] = float(np.std(values, ddof=1)) if len(values) > 1 else None

    bins = min(60, max(5, 2 * round(len(values) ** 0.5)))
    figures = {f"Distribution of {subject.metric}": histogram(values, x=subject.metric, y="trials", bins=bins)}
    return Section(title="Distribution", tables={subject.metric: [row]}, figures=figures, data=row)


def learning_curves(subject: Subject) -> Section:
    """Validation loss by epoch: the best trials by name, the others faint; the best epochs, and the gap there."""
    ranked = [trial for trial in subject.ranked() if _points(trial)]
    rows: list[Row] = []
    measured = any(trial.train is not None for trial in ranked[:CURVES])
    for trial in ranked[:CURVES]:
        points = _points(trial)
        row: Row = {"trial": trial.number, "state": str(trial.state), "epochs": points[-1][0]}
        row |= {
            "best epoch": None if trial.best is None else trial.best.epoch,
            "first": points[0][1],
            "lowest": min(y for _, y in points),
        }
        row |= {"last": points[-1][1], "train at last": finite(trial.learning_curve[-1].get("train_loss"))}
        row |= _gap(trial) if measured else {}
        rows.append(row)
    text = [f"The best {CURVES} of {len(ranked)} trials with a finished epoch."] if len(ranked) > CURVES else []
    if measured:
        text.append(
            "`train at best` is the loss on the training windows with the weights of the best epoch, without dropout; "
            "`gap` is val_loss there minus this loss. `train at last` was measured during training, with dropout."
        )
    figures = {"Validation loss by epoch": _curves(ranked)} if ranked else {}
    return Section(
        title="Learning curves",
        text=text if ranked else ["No trial has finished an epoch."],
        tables={"Validation loss": rows} if rows else {},
        figures=figures,
        data=rows,
    )


def _gap(trial: TrialRecord) -> Row:
    """Loss on the training part at the best epoch and the generalisation gap; None if it was not measured."""
    train = None if trial.train is None else finite(trial.train.loss)
    val = None if trial.best is None else finite(trial.best.val_loss)
    return {"train at best": train, "gap": None if train is None or val is None else val - train}


def _points(trial: TrialRecord) -> list[tuple[int, float]]:
    """Epochs with a validation loss."""
    points = [(line.get("epoch"), finite(line.get("val_loss"))) for line in trial.learning_curve]
    return [(int(epoch), loss) for epoch, loss in points if epoch is not None and loss is not None]


def _curves(ranked: Sequence[TrialRecord]) -> Spec:
    best, rest = ranked[:CURVES], ranked[CURVES : CURVES + FAINT]
    faint = [Point(x=x, y=y, path=trial.number) for trial in rest for x, y in _points(trial)]
    light = {"strokeWidth": 1, "opacity": 0.3}
    series = [Series(name=f"the next {len(rest)}", points=faint, marks=["line"], colour=GREY, style=light)] * bool(rest)
    for trial in best:
        points = [Point(x=x, y=y) for x, y in _points(trial)]
        series.append(Series(name=f"trial {trial.number}", points=points, marks=["line", "point"]))
    return figure(*series, x="epoch", y="val_loss")
