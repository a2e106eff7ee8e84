"""`scalecore evaluate`: retrain one trial, store its model and evaluate it on the test set (guard G15)."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from attrs import evolve, frozen

from scalecore.api.attempts import AttemptFolder
from scalecore.api.engine import (
    MODEL_FILE,
    MODEL_FORMAT,
    WEIGHTS_FILE,
    FolderWithOtherData,
    MeasuredOnTestData,
    OpenStudy,
    Plan,
    Runtime,
    Wanted,
    is_measured,
    measure,
    refuse_without_weights,
    rules_on,
    train_wanted,
)
from scalecore.api.errors import ExperimentError, RefusedError, StudyError
from scalecore.api.files import plain, read_json, replacing, utc_now, write_json, write_text
from scalecore.api.predictions import Predictions, checksum, read_calibrator, read_predictions
from scalecore.api.statistics import mean_interval
from scalecore.api.studies import StudyFolder
from scalecore.api.trials import Origin, StudyEnd, TrialRecord, TrialState
from scalecore_promotion.card import card
from scalecore_promotion.threshold import (
    Criterion,
    DecisionThreshold,
    ThresholdResults,
    choose_threshold,
    criteria_shown,
    threshold_results,
)
from scalecore_torch.api import TorchSpec

EVALUATION_FILE = "evaluation.json"
CARD_FILE = "model_card.md"


@frozen(kw_only=True)
class EvaluationRequest:
    """The trial, and the only settings that may differ from it (guard G15)."""

    trial: int | None = None
    seed: int | None = None
    epochs: int | None = None
    split: Sequence[str] = ()
    """`KEY=VALUE` below `dataset.split`."""
    threshold: Criterion = "mcc"
    """The criterion that chooses the decision threshold of a binary target."""


@frozen(kw_only=True)
class Evaluated:
    """The outcome; `evaluation` is None if the run ended before the model was evaluated."""

    folder: Path
    end: StudyEnd
    evaluation: Mapping[str, Any] | None = None


def evaluate(study: OpenStudy, wanted: EvaluationRequest) -> Evaluated:
    """Train, store the model, open the test data, evaluate, write the card. Skips steps that an earlier call finished.

    Raises `RefusedError` for a trial that did not complete, `StudyError` if its training fails.
    """
    refuse_without_weights(study, "evaluate")
    trial = _trial(study, wanted.trial)
    plan, runtime = _plan(study, trial, wanted)
    final = Wanted(
        origin=Origin(kind="final", label=f"trial {trial.number}, retrained"),
        architecture=trial.architecture,
        hyperparameters=_hyperparameters(plan, trial, wanted.epochs),
        trial=trial.number,
        seed=trial.seed if wanted.seed is None and not wanted.split and wanted.epochs is None else wanted.seed,
    )
    _, identity = final.identity(study, plan)
    name = f"trial_{trial.number:04d}" + ("" if identity == trial.hash else f"-{identity[:8]}")
    path = study.folder.promoted / name
    folder = study.folder
    path.mkdir(parents=True, exist_ok=True)
    if wanted.split:
        folder = FolderWithOtherData(study.folder.path, prepared=path / "data")
        plan.write_data(folder.data)
    record: TrialRecord | None = None
    if (path / MODEL_FILE).is_file() and is_measured(study, identity, place=path):
        model = read_json(path / MODEL_FILE)
        evaluation = {**read_json(path / EVALUATION_FILE), "openings": study.openings()}
    else:
        title = f"retraining of trial {trial.number} of {plan.resolved.experiment.name}"
        trained = train_wanted(
            study,
            [final],
            title=title,
            plan=plan,
            runtime=runtime,
            folder=folder,
            keep_weights=True,
            weights_for=[identity],
        )
        record = trained.records.get(identity)
        if record is None or trained.end is not StudyEnd.COMPLETED:
            return Evaluated(folder=path, end=trained.end)
        if record.state is not TrialState.COMPLETED:
            raise StudyError(f"retraining of trial {trial.number} ended as {record.state}: {record.reason}")
        by = f"evaluate, trial {trial.number}"
        measured = measure(study, [record], plan=plan, folder=folder, place=path, by=by)[identity]
        evaluation = _evaluation(study, record, plan=plan, trial=trial, measured=measured, folder=folder, place=path)
        model = _model(study, record, plan=plan, trial=trial, folder=folder, place=path) | {"probe": measured.probe}
    calibrator = read_calibrator(study.folder.path, trial=trial.number, identity=identity)
    model["calibrator"] = calibrator.to_json() if calibrator is not None else None
    decided = _threshold(evaluation, trained=study.folder.path, place=path, plan=plan, criterion=wanted.threshold)
    if decided is not None:
        model["threshold"], evaluation["threshold"] = (one.to_json() for one in decided)
    write_json(path / EVALUATION_FILE, evaluation)
    write_text(path / CARD_FILE, card(model, evaluation, data=plan.data))
    # Written last: this file marks a complete folder.
    write_json(path / MODEL_FILE, model)
    if record is not None:
        folder.weights(record.number).unlink(missing_ok=True)  # the model has them
    return Evaluated(folder=path, end=StudyEnd.COMPLETED, evaluation=evaluation)


def _trial(study: OpenStudy, number: int | None) -> TrialRecord:
    completed = study.completed()
    if number is None:
        if not completed:
            raise RefusedError(f"{study.folder.path}: the study has no completed trial to evaluate")
        return completed[0]
    known = {record.number: record for record in study.state.records}
    if number not in known:
        raise ExperimentError(f"--trial {number}: the study has no finished trial with this number")
    if known[number].state is not TrialState.COMPLETED:
        raise RefusedError(
            f"--trial {number}: the trial ended as {known[number].state} ({known[number].reason}); only a completed "
            "trial can be evaluated"
        )
    return known[number]


def _plan(study: OpenStudy, trial: TrialRecord, wanted: EvaluationRequest) -> tuple[Plan, Runtime]:
    """The study's plan with the requested split, and the micro-batch that the trial ended with."""
    for text in wanted.split:
        if "=" not in text:
            raise ExperimentError(f"--split {text}: write KEY=VALUE, as in `--split test_from=2020-01-02`")
    plan, runtime = study.plan, study.runtime
    if wanted.split:
        plan, runtime = study.plan_with([f"dataset.split.{text}" for text in wanted.split])
    if trial.micro_batch is None:
        return plan, runtime
    return evolve(plan, step_size=evolve(plan.step_size, micro_batch=trial.micro_batch)), runtime


def _hyperparameters(plan: Plan, trial: TrialRecord, epochs: int | None) -> Mapping[str, Any]:
    values = dict(trial.hyperparameters)
    if epochs is not None:
        if problem := plan.hyperparameters["epochs"].problem(epochs):
            raise ExperimentError(f"--epochs: {problem}")
        values["epochs"] = epochs
    return values


def _model(
    study: OpenStudy, record: TrialRecord, *, plan: Plan, trial: TrialRecord, folder: StudyFolder, place: Path
) -> dict[str, Any]:
    """The content of `model.json` without its probe; the weights are in the folder when this returns."""
    trained, kept = folder.weights(record.number), place / WEIGHTS_FILE
    with replacing(kept) as temporary:
        try:
            os.link(trained, temporary)  # no second copy on the disk, if the file system supports hard links
        except OSError:
            shutil.copyfile(trained, temporary)
    spec, data = _trained_spec(folder, record), plan.data.plain()
    given = spec.plain()
    plugins = [Path(file) for file in given["registry"].get("files", ())]
    for file in plugins:
        shutil.copyfile(file, place / file.name)
    content: dict[str, Any] = {
        "format": MODEL_FORMAT if data["target_scale"] is not None else 1,
        "name": f"{plan.resolved.experiment.name}, trial {trial.number}",
        "created": utc_now(),
        "folder": str(place.absolute()),
        **{
            name: given[name]
            for name in ("model", "architecture", "num_parameters", "hyperparameters", "shape", "task", "loss")
        },
        "products": given["products"],
        "seed": record.seed,
        "hash": record.hash,
        "epoch": None if record.best is None else record.best.epoch,
        "objective": plan.experiment["objective"],
        "training": plan.experiment["training"],
        "micro_batch": record.micro_batch,
        "evaluation": record.policy.evaluation or "fp32",
        "value": record.value,
        "search": {
            "study": plan.resolved.experiment.name,
            "trial": trial.number,
            "hash": trial.hash,
            "value": trial.value,
            "origin": trial.origin.kind,
            "trials": len(study.state.records),
            "same_training": record.hash == trial.hash,
            "same_weights": record.versions.get("weights") == trial.versions.get("weights"),
        },
        "data": {
            "name": data["name"],
            "block": plan.experiment["dataset"],
            **{
                name: data[name]
                for name in ("features", "context", "normalise", "target", "target_scale", "split", "fingerprint")
            },
            **{name: data[name] for name in ("prior", "details")},
        },
        "flags": plain(record.flags),
        "versions": record.versions,
        **({"plugins": [file.name for file in plugins]} if plugins else {}),
        "weights": {"file": WEIGHTS_FILE, "sha256": checksum(kept)},
    }
    return content


def _evaluation(
    study: OpenStudy,
    record: TrialRecord,
    *,
    plan: Plan,
    trial: TrialRecord,
    measured: MeasuredOnTestData,
    folder: StudyFolder,
    place: Path,
) -> dict[str, Any]:
    """The content of `evaluation.json`: test and validation results, baselines, and the openings of the test data."""
    predictions = read_predictions(place / measured.predictions.file)
    result: dict[str, Any] = plain(
        {
            "study": plan.resolved.experiment.name,
            "trial": trial.number,
            "hash": record.hash,
            "train": record.train,
            "validation": {
                "loss": None if record.best is None else record.best.val_loss,
                "best": record.best,
                "predictions": record.predictions,
                "windows": plan.data.parts["val"].windows,
            },
            "test": {
                **{
                    name: getattr(measured, name) for name in ("loss", "metrics", "intervals", "predictions", "opening")
                },
                "windows": len(predictions),
                "part": plan.data.parts["test"].plain(),
                "seen_in_search": _seen_in_search(study, predictions),
                "baselines": _test_baselines(plan, predictions, data=folder.data),
            },
            "openings": study.openings(),
        }
    )
    return result


def _threshold(
    evaluation: Mapping[str, Any], *, trained: Path, place: Path, plan: Plan, criterion: Criterion
) -> tuple[DecisionThreshold, ThresholdResults] | None:
    """The decision threshold of a binary target, and its results; None for other tasks.

    `trained` is the study's folder, with the validation predictions of the training, `place` that of the model.
    """
    kept = evaluation["validation"].get("predictions")
    if plan.data.task != "binary" or kept is None:
        return None
    validation = read_predictions(trained / kept["file"])
    test = read_predictions(place / evaluation["test"]["predictions"]["file"])
    overlap, least = plan.data.target.overlap, plan.min_denominator
    threshold = choose_threshold(validation, criterion=criterion, overlap=overlap, least=least)
    criteria = criteria_shown(read_json(place / EVALUATION_FILE), criterion)
    return threshold, threshold_results(threshold, validation=validation, test=test, overlap=overlap, criteria=criteria)


def _seen_in_search(study: OpenStudy, predictions: Predictions) -> int:
    """Count test windows that end at a row of the search's training or validation part: 0 unless the split changed."""
    folder = study.folder.data
    times = np.load(folder / "times.npy", allow_pickle=False)
    rows = np.concatenate([np.load(folder / f"{part}.npy", allow_pickle=False) for part in ("train", "val")])
    return int(np.isin(predictions.times, times[rows]).sum())


def _test_baselines(plan: Plan, predictions: Predictions, *, data: Path) -> list[dict[str, Any]]:
    """`rules_on` the test windows of `predictions`; `less` is model loss minus baseline loss, paired by window, with
    its 95 % confidence interval."""
    result = []
    for one, theirs in rules_on(plan, predictions.rows, data=data):
        row = one.report().plain() | {"less": None, "less_interval": None}
        if theirs is not None:
            less = predictions.losses() - theirs
            interval = mean_interval(less, overlap=plan.data.target.overlap)
            row |= {"less": float(less.mean()), "less_interval": None if interval is None else interval.plain()}
        result.append(row)
    return result


def _trained_spec(folder: StudyFolder, record: TrialRecord) -> TorchSpec:
    """The spec of the last attempt of a training."""
    return AttemptFolder(folder.attempt(record.number, len(record.attempts) - 1)).read_own_spec(TorchSpec)
