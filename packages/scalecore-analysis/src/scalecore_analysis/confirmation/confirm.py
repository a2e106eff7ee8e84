"""`scalecore confirm`: retrain the best configurations on fresh seeds and test whether they differ.

The best of many noisy values is optimistic, because luck helped to select it. Replicates of the same configurations,
with seeds that took no part in the selection, show how good they are and whether they differ (guard G14).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from attrs import frozen

from scalecore.api.engine import (
    MeasuredOnTestData,
    OpenStudy,
    Wanted,
    is_measured,
    measure,
    refuse_without_weights,
    rules_on,
    test_predictions_file,
    train_wanted,
)
from scalecore.api.errors import RefusedError
from scalecore.api.files import plain, write_json, write_text
from scalecore.api.predictions import Predictions, read_predictions, trial_predictions
from scalecore.api.statistics import MIN_SEEDS, Estimate, difference, margin_of, mean, one_training, verdict
from scalecore.api.trials import Origin, StudyEnd, TrialRecord, TrialState
from scalecore_analysis.confirmation.text import markdown

RESULT_FILE = "confirmation.json"
Losses = npt.NDArray[np.float64]


@frozen(kw_only=True)
class Confirmation:
    """`content` is the content of `confirmation.json`; None if the run ended before all replicates finished."""

    folder: Path
    end: StudyEnd
    content: Mapping[str, Any] | None = None


@frozen(kw_only=True, eq=False)
class _Group:
    """One configuration with its replicates on one part of the data."""

    trial: TrialRecord
    claimed_rank: int
    values: list[float]
    """The objective (on test data the loss) of each completed replicate."""
    losses: Losses | None
    """[seeds, windows], if the value is the mean over windows."""
    collapsed: int
    """Replicates that predict a constant."""


def confirm(
    study: OpenStudy, *, top: int, seeds: int, test: bool = False, elsewhere: Sequence[Path] = ()
) -> Confirmation:
    """Train the missing replicates of the `top` best trials on `seeds` seeds, and compare them on validation data.

    With `test`, compare on test data too, which is opened once for all replicates that were not evaluated yet.
    `elsewhere` are folders of studies that may contain equal trainings. Raises `RefusedError` if no trial is completed.
    """
    if test:
        refuse_without_weights(study, "confirm --test")
    chosen = study.completed()[:top]
    if not chosen:
        raise RefusedError(f"{study.folder.path}: the study has no completed trial to confirm")
    # Seed by seed, so that an interrupted run has equally many replicates of each trial.
    wanted = [
        Wanted(
            origin=Origin(kind="replicate", label=f"trial {trial.number}, replicate {replicate}"),
            architecture=trial.architecture,
            hyperparameters=dict(trial.hyperparameters),
            trial=trial.number,
            replicate=replicate,
        )
        for replicate in range(1, seeds + 1)
        for trial in chosen
    ]
    identities = [one.identity(study, study.plan)[1] for one in wanted]
    folder, place = study.folder.confirmation, study.folder.path
    title = f"confirmation of {study.plan.resolved.experiment.name}"
    unmeasured = [one for one in identities if not is_measured(study, one, place=place)] if test else []
    trained = train_wanted(study, wanted, title=title, keep_weights=True, weights_for=unmeasured, elsewhere=elsewhere)
    if trained.end is not StudyEnd.COMPLETED or len(trained.records) < len(set(identities)):
        return Confirmation(folder=folder, end=trained.end)
    replicates: dict[int, list[TrialRecord]] = {trial.number: [] for trial in chosen}
    for one, identity in zip(wanted, identities, strict=True):
        assert one.trial is not None
        replicates[one.trial].append(trained.records[identity])
    measured: Mapping[str, MeasuredOnTestData] = {}
    if test:
        done = [r for own in replicates.values() for r in own if r.state is TrialState.COMPLETED]
        by = f"confirm, top {top}, {seeds} seeds"
        measured = measure(study, done, plan=study.plan, folder=study.folder, place=place, by=by)
        for record in done:
            study.folder.weights(record.number).unlink(missing_ok=True)  # no longer needed (guard G44)
    content = _content(study, chosen, replicates, measured=measured, seeds=seeds)
    folder.mkdir(exist_ok=True)
    write_json(folder / RESULT_FILE, content)
    write_text(folder / "confirmation.md", markdown(content))
    return Confirmation(folder=folder, end=StudyEnd.COMPLETED, content=content)


def _content(
    study: OpenStudy,
    chosen: Sequence[TrialRecord],
    replicates: Mapping[int, Sequence[TrialRecord]],
    *,
    measured: Mapping[str, MeasuredOnTestData],
    seeds: int,
) -> dict[str, Any]:
    objective = study.plan.resolved.experiment.objective
    path = study.folder.path
    validation, test = [], []
    for rank, trial in enumerate(chosen, start=1):
        done = [record for record in replicates[trial.number] if record.state is TrialState.COMPLETED]
        common: dict[str, Any] = {
            "trial": trial,
            "claimed_rank": rank,
            "collapsed": sum(record.collapsed for record in done),
        }
        kept = [trial_predictions(path, record) for record in done]
        # The windows' variance of the losses applies to the objective only if it is the mean of these losses.
        is_loss = objective.metric == "val_loss" and objective.reduction == "best" and all(kept)
        values = [float(record.value or 0.0) for record in done]
        losses = _stack([one for one in kept if one is not None]) if is_loss else None
        validation.append(_Group(values=values, losses=losses, **common))
        if measured:
            of_test = [read_predictions(test_predictions_file(study, measured[r.hash], place=path)) for r in done]
            reached = [measured[record.hash].loss for record in done]
            test.append(_Group(values=reached, losses=_stack(of_test), **common))
    result: dict[str, Any] = plain(
        {
            "study": study.plan.resolved.experiment.name,
            "trials_of_the_search": len(study.state.counted),
            "seeds": seeds,
            "metric": objective.metric,
            "direction": objective.direction,
            "validation": _part(study, validation, part="val", direction=objective.direction),
            "test": _part(study, test, part="test", direction="minimize") if test else None,
            "openings": study.openings(),
            "replicates": {
                str(number): [
                    {
                        "number": record.number,
                        "seed": record.seed,
                        "hash": record.hash,
                        "state": record.state,
                        "reason": record.reason,
                        "value": record.value,
                        "collapsed": record.collapsed,
                        "test_loss": measured[record.hash].loss if record.hash in measured else None,
                        "test_metrics": measured[record.hash].metrics if record.hash in measured else None,
                    }
                    for record in own
                ]
                for number, own in replicates.items()
            },
        }
    )
    return result


def _part(study: OpenStudy, groups: Sequence[_Group], *, part: str, direction: str) -> dict[str, Any]:
    """Rows by rank, the verdicts against the best configuration, and the best baseline on the same windows."""
    overlap = study.plan.data.target.overlap
    sign = 1.0 if direction == "minimize" else -1.0
    known = [group for group in groups if group.values]
    known.sort(key=lambda group: sign * mean(group.values).value)
    if not known:
        return {"rows": [], "winner": None, "margin": None, "baseline": None}
    best = known[0]
    margin = margin_of(best.values, [group.values for group in known[1:]])
    rows = []
    for rank, group in enumerate(known, start=1):
        estimate = mean(group.values, losses=group.losses, overlap=overlap)
        row = {
            "rank": rank,
            "trial": group.trial.number,
            "architecture": group.trial.architecture.values,
            "num_parameters": group.trial.architecture.num_parameters,
            "claimed_rank": group.claimed_rank,
            "seeds": len(group.values),
            "collapsed": group.collapsed,
            "mean": estimate.value,
            "interval": estimate.interval(),
            "between_seeds": float(np.std(group.values, ddof=1)) if len(group.values) > 1 else None,
            "smallest": min(group.values),
            "largest": max(group.values),
        }
        if part == "val" and group.trial.value is not None:
            row |= {
                "claimed": group.trial.value,
                "optimism": group.trial.value - estimate.value,
                "one_training": one_training(group.values),
            }
        rows.append(row | _against(best, group, sign=sign, margin=margin, comparisons=len(known) - 1, overlap=overlap))
    return {
        "rows": rows,
        "winner": best.trial.number,
        "windows_resampled": best.losses is not None,
        "margin": margin,
        "baseline": _baseline(study, best, part=part, overlap=overlap),
    }


def _against(
    best: _Group, group: _Group, *, sign: float, margin: float, comparisons: int, overlap: int
) -> dict[str, Any]:
    """The difference from the best configuration, above 0 is worse, and its verdict."""
    if group is best:
        return {"worse_by": None, "worse_by_interval": None, "verdict": None}
    losses = None if best.losses is None or group.losses is None else (group.losses, best.losses)
    less = difference(group.values, best.values, losses=losses, overlap=overlap)
    worse = Estimate(value=sign * less.value, error=less.error, degrees=less.degrees)
    found = verdict(worse, seeds=(len(best.values), len(group.values)), margin=margin, comparisons=comparisons)
    interval = worse.interval(level=1 - 0.05 / max(1, comparisons))
    return {"worse_by": worse.value, "worse_by_interval": interval, "verdict": found}


def _baseline(study: OpenStudy, best: _Group, *, part: str, overlap: int) -> dict[str, Any] | None:
    """The best baseline on these windows, and the best configuration's loss minus the baseline's loss."""
    if best.losses is None:
        return None
    rows = np.load(study.folder.data / f"{part}.npy", allow_pickle=False)
    found = [(one, losses) for one, losses in rules_on(study.plan, rows, data=study.folder.data) if losses is not None]
    if not found:
        return None
    rule, theirs = min(found, key=lambda pair: float(pair[1].mean()))
    less = mean([value - float(theirs.mean()) for value in best.values], losses=best.losses - theirs, overlap=overlap)
    interval = less.interval() if len(best.values) >= MIN_SEEDS else None
    return {
        "name": rule.name,
        "text": rule.text,
        "loss": float(theirs.mean()),
        "less": less.value,
        "interval": interval,
    }


def _stack(predictions: Sequence[Predictions]) -> Losses | None:
    return np.stack([one.losses() for one in predictions]) if predictions else None
