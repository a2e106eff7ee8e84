"""The best trial: configuration, metrics, confusion matrix and calibration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from scalecore.api.errors import DataError
from scalecore.api.formatting import caution, origin_text
from scalecore.api.markdown import cell
from scalecore.api.predictions import trial_predictions
from scalecore.api.record_parts import EpochResult
from scalecore_analysis.edges import edges_of
from scalecore_analysis.report.section import Row, Section, Subject, finite
from scalecore_analysis.runs import configurations
from scalecore_analysis.vega import GREY, UNSEEN, Point, Series, Spec, figure

if TYPE_CHECKING:
    from scalecore.api.trials import TrialRecord

__all__ = ["best_trial_section", "confusion_rows"]

BINS = 10
NOT_METRICS = {"epoch", "learning_rate", "gradient_norm", "clipped_share", "train_seconds", "evaluation_seconds"}


def best_trial_section(subject: Subject) -> Section:
    """Describe the trial with the best value, if there is one."""
    best = subject.best
    if best is None:
        return Section(title="Best trial", text=["No trial has completed."], data=None)
    at_best = best.best or EpochResult()
    epoch = "unknown" if at_best.epoch is None else at_best.epoch
    text = [f"Trial {best.number}: {subject.metric} {best.value:.6g} at epoch {epoch}."]
    if (warning := caution(best)) is not None:
        text.append(f"{warning[0].upper()}{warning[1:]}.")
    edges = edges_of(subject.study, best)
    on_edge = [f"{row['name']} {row['on edge']} ({cell(row['value'])})" for row in edges if row["on edge"]]
    if on_edge:
        text.append(f"It has {' and '.join(on_edge)}: the optimum may be outside the search space.")
    seeds = next(
        (one for one in configurations(subject.study, subject.metric) if one.fresh and one.searched is best), None
    )
    if seeds is not None:
        text.append(f"Its mean over {len(seeds.values)} fresh seeds is {seeds.mean:.6g} ({seeds.numbers}).")
    configuration: list[Row] = [{"what": name, "value": value} for name, value in best.architecture.values.items()]
    configuration += [
        {"what": "parameters", "value": best.architecture.num_parameters},
        *({"what": name, "value": value} for name, value in best.hyperparameters.items()),
        {"what": "micro-batch", "value": best.micro_batch},
        {"what": "accumulation", "value": best.accumulation},
        {"what": "seed", "value": str(best.seed)},
        {"what": "origin", "value": origin_text(best)},
        {"what": "why this point", "value": best.origin.reason},
    ]
    tables: dict[str, Sequence[Row]] = {"Configuration": configuration, "Metrics at the best epoch": _metrics(best)}
    matrix = confusion_rows(at_best.confusion_matrix)
    if matrix:
        tables["Confusion matrix"] = matrix
        text.append("The confusion matrix counts validation windows at threshold 0.5, or by the most probable class.")
    rows, measured, why = _reliability(subject, best)
    figures: dict[str, Spec] = {}
    if rows:
        tables["Reliability"] = rows
        tables["Calibration error"] = [measured]
        figures["Reliability"] = _diagram(rows)
    else:
        text.append(f"No reliability diagram: {why}.")
    data: dict[str, Any] = {"trial": best.number, "hash": best.hash, "value": finite(best.value)}
    data |= {"configuration": {row["what"]: row["value"] for row in configuration}, "metrics": _metrics(best)}
    data |= {"confusion matrix": at_best.confusion_matrix, "reliability": rows, "calibration": measured or None}
    return Section(
        title="Best trial",
        text=text,
        tables=tables,
        figures=figures,
        data={**data, "on edge": on_edge, "fresh seeds": list(seeds.values) if seeds else []},
    )


def _metrics(best: TrialRecord) -> list[Row]:
    """Validation metrics with intervals; the same metric on the training windows if it was measured."""
    at_best = best.best or EpochResult()
    intervals = at_best.intervals or {}
    train: dict[str, float | None] = {}
    if best.train is not None:
        train = {**best.train.metrics, "val_loss": best.train.loss}
        train["val_training_loss"] = train.pop("training_loss", None)
    rows = []
    for name, value in at_best.metrics.items():
        if name in NOT_METRICS:
            continue
        within = intervals.get(name)
        ends = (None, None) if within is None else (within.low, within.high)
        rows.append({"metric": name, "value": finite(value), "low": ends[0], "high": ends[1]})
        if train:
            rows[-1] |= {"training part": finite(train.get(name))}
    return rows


def confusion_rows(matrix: Any) -> list[Row]:
    """A table of true by predicted classes, from either form in the records; empty if there is none."""
    if isinstance(matrix, Mapping) and {"tn", "fp", "fn", "tp"} <= set(matrix):
        return [
            {"truth": "negative", "predicted negative": matrix["tn"], "predicted positive": matrix["fp"]},
            {"truth": "positive", "predicted negative": matrix["fn"], "predicted positive": matrix["tp"]},
        ]
    if isinstance(matrix, Sequence) and not isinstance(matrix, str):
        return [
            {"truth": f"class {truth}", **{f"predicted {name}": count for name, count in enumerate(line)}}
            for truth, line in enumerate(matrix)
        ]
    return []


def _reliability(subject: Subject, best: TrialRecord) -> tuple[list[Row], Row, str]:
    """Rows of the diagram and the calibration measures, or the reason why there are none."""
    try:
        found = trial_predictions(subject.study.folder, best)
    except DataError as error:
        return [], {}, str(error)
    if found is None:
        return [], {}, "the predictions were not stored"
    if found.about["task"] != "binary":
        return [], {}, f"it needs a binary target, and the task is {found.about['task']}"
    from scipy.special import expit

    from scalecore_analysis.calibrating.measures import measures, reliability

    chances = expit(found.outputs[:, 0].astype(np.float64))
    labels = found.labels.astype(np.float64)
    measured = measures(chances, labels, bins=BINS, overlap=int(found.about["horizon"]))
    return reliability(chances, labels, bins=BINS), measured, ""


def _diagram(rows: Sequence[Row]) -> Spec:
    right, observed = [], []
    for row in rows:
        x = row["probability"]
        right.append(Point(x=x, y=x, low=row["low"], high=row["high"]))
        observed.append(Point(x=x, y=row["share"], text=f"{row['windows']} windows"))
    band = Series(
        name="perfect calibration, 95 % band",
        points=right,
        marks=["rule", "line", "point"],
        colour=GREY,
        style=UNSEEN,
    )
    return figure(
        band,
        Series(name="observed", points=observed, marks=["line", "point"]),
        x="mean probability of a bin",
        y="share of positives",
    )
