"""Contents of the files of a study, as pure functions: they can be rebuilt from the journal at any time."""

from __future__ import annotations

import statistics
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import Any

from scalecore.api import formatting
from scalecore.api.files import plain
from scalecore.api.record_parts import EpochResult
from scalecore.api.trials import StudyView, TrialRecord, TrialState, best_first
from scalecore.builtin.hardware_summary import hardware_rows


def architecture(record: TrialRecord) -> dict[str, int]:
    """Dimensions by name and the counted parameters."""
    return {**record.architecture.values, "param_count": record.architecture.num_parameters}


def trial_file(record: TrialRecord) -> dict[str, Any]:
    """`trials/trial_0007.json`."""
    best = record.best or EpochResult()
    result: dict[str, Any] = plain(
        {
            "number": record.number,
            "state": record.state,
            "reason": record.reason,
            "value": record.value,
            "params": {**record.architecture.values, **record.hyperparameters},
            "architecture": architecture(record),
            "datetime_start": record.started,
            "datetime_complete": record.ended,
            "duration": record.duration,
            "hash": record.hash,
            "seed": record.seed,
            "origin": record.origin,
            "user_attrs": {
                "learning_curve": record.learning_curve,
                "best": record.best or {},
                "last": record.last,
                # Omitted if empty, as in files of earlier versions, which `verify` compares with these.
                **({} if record.train is None else {"train": record.train}),
                "confusion_matrix": best.confusion_matrix,
                "accuracy": best.metrics.get("accuracy"),
                "predictions": best.predictions,
                "data": record.data,
                "flops": record.architecture.flops,
                "micro_batch": record.micro_batch,
                "accumulation": record.accumulation,
                "timings": record.timings,
                "throughput": record.throughput,
                "memory": record.memory,
                "hardware": record.hardware,
                "attempts": record.attempts,
                "resumptions": record.resumptions,
                "flags": record.flags,
                "versions": record.versions,
            },
        }
    )
    return result


def counts(study: StudyView) -> dict[str, int]:
    """Number of trials in each state, including running ones (guard G27)."""
    result = {str(state): 0 for state in TrialState}
    for record in study.trials:
        result[record.state] += 1
    return {**result, "running": len(study.running), "total": study.total}


def best_file(study: StudyView) -> dict[str, Any]:
    """`{experiment}_{budget}_best.json`; always contains the architecture, also of forced trials (guard G20)."""
    best = study.best
    result: dict[str, Any] = plain(
        {
            "experiment": study.name,
            "budget": study.budget,
            "metric": study.metric,
            "best_value": best.value if best else None,
            "intervals": best.best.intervals if best and best.best else None,
            "best_trial": best.number if best else None,
            "best_params": {**best.architecture.values, **best.hyperparameters} if best else None,
            "architecture": architecture(best) if best else None,
            "origin": formatting.origin_text(best) if best else None,
            "collapsed": best.collapsed if best else None,
            "baselines": [one.plain() for one in study.plan.data.baselines],
            "counts": counts(study),
        }
    )
    return result


def all_trials(study: StudyView) -> list[dict[str, Any]]:
    """`{experiment}_all_trials.json`: completed trials by value, then collapsed ones, then the others."""
    return [plain(row(record)) for record in ranked(study)]


def ranked(study: StudyView) -> list[TrialRecord]:
    """All trials in the order of `all_trials`."""
    others = [r for r in study.trials if r.state is not TrialState.COMPLETED or r.value is None]
    others.sort(key=lambda record: (record.collapsed, record.number))
    return [*best_first(study.trials, direction=study.direction), *others]


def row(record: TrialRecord) -> dict[str, Any]:
    """One trial in a table: architecture and key metrics."""
    best = record.best or EpochResult()
    names = ("val_loss", "train_loss", "accuracy", "auc", "precision", "recall", "f1")
    return {
        "number": record.number,
        "state": record.state,
        "reason": record.reason,
        "value": record.value,
        "architecture": architecture(record),
        "params": dict(record.hyperparameters),
        "origin": formatting.origin_text(record),
        "best_epoch": best.epoch,
        **{name: best.metrics.get(name) for name in names},
        "last_value": record.last.val_loss if record.last else None,
        "duration": record.duration,
        "flags": sorted({flag.guard or "" for flag in record.flags}),
    }


def study_summary(study: StudyView) -> dict[str, Any]:
    """`{experiment}_study_summary.json`."""
    best = study.best
    valued = [r.value for r in study.trials if r.state is TrialState.COMPLETED and r.value is not None]
    at_best = (best and best.best) or EpochResult()
    data = study.plan.data.plain()
    result: dict[str, Any] = plain(
        {
            "experiment": study.name,
            "budget": study.budget,
            "end": study.end,
            "counts": counts(study),
            "duplicates_avoided": study.duplicates_avoided,
            "degraded": list(study.degraded),
            # Omitted if empty, as in files of earlier versions, which `verify` compares with these.
            **({"mixtures": mixed} if (mixed := formatting.mixtures(study.counted)) else {}),
            "data": {key: data.get(key) for key in ("name", "fingerprint", "target", "split", "baselines")},
            "best": best_file(study),
            "trials": all_trials(study),
            "by_dimension": {name: by_dimension(study, name) for name in study.plan.architectures.dimensions},
            "sensitivity": sensitivity(study),
            "distribution": distribution(valued),
            "best_confusion_matrix": at_best.confusion_matrix,
            "best_precision": at_best.metrics.get("precision"),
            "best_recall": at_best.metrics.get("recall"),
            "best_f1": at_best.metrics.get("f1"),
            "hardware": hardware_rows(study) if study.experiment.get("monitors") else None,
        }
    )
    return result


def by_dimension(study: StudyView, name: str) -> list[dict[str, Any]]:
    """For each value of a dimension: trials, completed ones, best and mean objective."""
    groups: dict[int, list[TrialRecord]] = {}
    for record in study.trials:
        if name in record.architecture.values:
            groups.setdefault(record.architecture.values[name], []).append(record)
    pick = min if study.direction == "minimize" else max
    rows = []
    for value, records in sorted(groups.items()):
        values = [r.value for r in records if r.state is TrialState.COMPLETED and r.value is not None]
        rows.append(
            {
                name: value,
                "trials": len(records),
                "completed": len(values),
                "best": pick(values) if values else None,
                "mean": statistics.fmean(values) if values else None,
            }
        )
    return rows


def sensitivity(study: StudyView) -> dict[str, Any]:
    """Spearman's rank correlation of the objective with each varied numeric parameter, over completed trials.

    `not varied` where all completed trials have the same value, `too few` below four trials.
    """
    every = [r for r in study.trials if r.state is TrialState.COMPLETED and r.value is not None]
    result: dict[str, Any] = {}
    for name in study.plan.space:
        # A resumed study may vary a parameter that its first trials lack.
        completed = [r for r in every if name in r.hyperparameters]
        values = [r.hyperparameters[name] for r in completed]
        if len(completed) < 4:
            result[name] = {"rank_correlation": None, "note": "too few completed trials", "trials": len(completed)}
        elif len(set(values)) == 1:
            result[name] = {"rank_correlation": None, "note": "not varied", "trials": len(completed)}
        elif not all(isinstance(value, int | float) for value in values):
            result[name] = {"rank_correlation": None, "note": "not numeric", "trials": len(completed)}
        else:
            correlation = spearman([float(v) for v in values], [float(r.value or 0.0) for r in completed])
            result[name] = {"rank_correlation": correlation, "trials": len(completed)}
    return result


def spearman(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Spearman's rank correlation, ties at their mean rank; None if one side is constant."""
    if len(set(first)) == 1 or len(set(second)) == 1:
        return None
    return statistics.correlation(_ranks(first), _ranks(second))


def _ranks(values: Sequence[float]) -> list[float]:
    """Ranks from 1; equal values get their mean rank."""
    ordered = sorted(values)
    return [(bisect_left(ordered, value) + bisect_right(ordered, value) + 1) / 2 for value in values]


def distribution(values: Sequence[float]) -> dict[str, float | int] | None:
    """Minimum, maximum, mean, standard deviation and quartiles of the objective; None without a completed trial."""
    if not values:
        return None
    quartiles = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else [values[0]] * 3
    return {
        "count": len(values),
        "min": min(values),
        "max": max(values),
        "mean": statistics.fmean(values),
        "std": statistics.stdev(values) if len(values) > 1 else 0.0,
        "q1": quartiles[0],
        "median": quartiles[1],
        "q3": quartiles[2],
    }
