"""The model card: description, results, data and cautions of a retrained model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from scalecore.api import formatting
from scalecore.api.data_report import DataReport
from scalecore.api.engine import opened_text
from scalecore_promotion.threshold import results_from, threshold_from
from scalecore_promotion.threshold_text import threshold_lines, threshold_section

SHOWN = ("accuracy", "auc", "precision", "recall", "f1", "mae", "rmse", "sign_accuracy", "r2")


def card(model: Mapping[str, Any], evaluation: Mapping[str, Any], *, data: DataReport) -> str:
    """`model_card.md`; `model.json` and `evaluation.json` in the same folder contain every number."""
    search, test = model["search"], evaluation["test"]
    shape = " ".join(f"{name}={value}" for name, value in model["architecture"].items())
    lines = [
        f"# {model['name']}",
        "",
        f"Predicts: {data.target.text} ({model['task']}){_scale(data)}. Family `{model['model']['use']}`, "
        f"{shape}, {model['num_parameters']:,} parameters.",
        "",
        "## Results",
        "",
        *_results(evaluation),
        "",
        *_baselines(test["baselines"]),
        "",
        *_threshold(model, evaluation),
        "## Read before use",
        "",
        *[f"- {text}" for text in _cautions(model, evaluation)],
        "",
        "## Data",
        "",
        f"`{data.name}`, {len(data.features)} features, windows of {data.context} rows, normalised by "
        f"`{data.normalise.kind}` with the statistics of the training rows. Fingerprint `{data.fingerprint}`.",
        "",
        "```",
        *[formatting.part_line(name, part) for name, part in data.parts.items()],
        "```",
        "",
        f"Split `{data.split.kind}`, purge {data.split.purge}, embargo {data.split.embargo} windows. "
        f"Features in order: {', '.join(data.features)}.",
        "",
        "## Training",
        "",
        f"Trial {search['trial']} of the study `{search['study']}` ({search['origin']}), retrained with seed "
        f"{model['seed']}; weights of epoch {model['epoch']}. {_same(model)}",
        "",
        "| hyper-parameter | value |",
        "|---|---|",
        *[f"| {name} | {value} |" for name, value in model["hyperparameters"].items()],
        f"| effective batch | {model['training']['effective_batch']} |",
        f"| micro-batch | {model['micro_batch']} |",
        "",
        "## Use",
        "",
        "```console",
        "$ scalecore predict THIS_FOLDER new_rows.parquet --output predictions.parquet",
        "```",
        "",
        "Prediction needs only `model.json` and `weights.safetensors`, and the packages below.",
        *_calibrator(model.get("calibrator")),
        "",
        "## Versions",
        "",
        "| item | version |",
        "|---|---|",
        *[f"| {name} | {value} |" for name, value in sorted(model["versions"].items()) if name != "weights"],
        f"| trial hash | {model['hash']} |",
        f"| weights, SHA-256 | {model['weights']['sha256']} |",
        "",
    ]
    return "\n".join(lines)


def _scale(data: DataReport) -> str:
    scale = data.target_scale
    return f", in its original unit; standardised for training {formatting.scale(scale)}" if scale is not None else ""


def _threshold(model: Mapping[str, Any], evaluation: Mapping[str, Any]) -> list[str]:
    """The decision threshold; nothing for other tasks."""
    if not model.get("threshold"):
        return []
    threshold, found = threshold_from(model["threshold"]), results_from(evaluation["threshold"])
    return threshold_section(threshold, found, calibrated=bool(model.get("calibrator")))


def _calibrator(calibrator: Mapping[str, Any] | None) -> list[str]:
    """Describe the stored calibrator of the probabilities."""
    if calibrator is None:
        return []
    return [
        "",
        f"The model includes a calibrator ({calibrator['kind']}), fitted on the "
        f"{calibrator['about']['windows']:,} validation windows. Column `calibrated` of the predictions is its output.",
    ]


def summary_lines(evaluation: Mapping[str, Any]) -> list[str]:
    """The results in a few lines, for the console."""
    test = evaluation["test"]
    lines = [
        f"validation loss {formatting.number(evaluation['validation']['loss'])}",
        f"test loss       {formatting.measured(test['loss'], test['intervals']['loss'])}, {test['windows']:,} windows",
    ]
    lines += [
        f"test {name:10} {formatting.measured(test['metrics'][name], test['intervals'].get(name))}"
        for name in _shown(test)
    ]
    lines += threshold_lines(results_from(found)) if (found := evaluation.get("threshold")) else []
    lines.append("test loss of baselines, and model loss minus baseline loss:")
    for baseline in test["baselines"]:
        if baseline["loss"] is not None:
            lines.append(f"  {baseline['name']:14} {formatting.number(baseline['loss'])}  {_less(baseline)}")
    lines.append(opened_text(evaluation["openings"]))
    return lines


def _shown(test: Mapping[str, Any]) -> list[str]:
    """The metrics on the card: a selection of the task's, and the user's metrics, which have no interval."""
    metrics, more = test["metrics"], {*test["intervals"], "val_training_loss"}
    own = [name for name, value in metrics.items() if isinstance(value, float) and name not in more]
    return [name for name in (*SHOWN, *own) if metrics.get(name) is not None]


def _results(evaluation: Mapping[str, Any]) -> list[str]:
    test, best = evaluation["test"], evaluation["validation"]["best"]
    validation, intervals = best.get("intervals") or {}, test["intervals"]
    rows = [
        "| | validation (used for selection) | test |",
        "|---|---|---|",
        f"| windows | {evaluation['validation']['windows']:,} | {test['windows']:,} |",
        f"| loss | {formatting.measured(best['val_loss'], validation.get('val_loss'))} | "
        f"{formatting.measured(test['loss'], intervals['loss'])} |",
    ]
    for name in _shown(test):
        before = best.get(name)
        shown = "" if before is None else formatting.measured(before, validation.get(name))
        rows.append(f"| {name} | {shown} | {formatting.measured(test['metrics'][name], intervals.get(name))} |")
    rows += ["", "In brackets: 95 % confidence intervals of this single training (over windows)."]
    train = evaluation.get("train")
    if train is not None and best["val_loss"] is not None:
        gap = formatting.number(best["val_loss"] - train["loss"], like=best["val_loss"], sign=True)
        rows += [f"Loss on the {train['windows']:,} training windows: {formatting.number(train['loss'])}; gap {gap}."]
    return rows


def _baselines(baselines: Sequence[Mapping[str, Any]]) -> list[str]:
    rows = ["| baseline | test loss | model loss minus baseline loss |", "|---|---|---|"]
    for baseline in baselines:
        if baseline["loss"] is None:
            rows.append(f"| {baseline['name']} | not available: {baseline['reason']} | |")
            continue
        loss = formatting.measured(baseline["loss"], baseline["loss_interval"])
        rows.append(f"| {baseline['name']}: {baseline['text']} | {loss} | {_less(baseline)} |")
    return rows


def _less(baseline: Mapping[str, Any]) -> str:
    """Model loss minus baseline loss with its interval, in as many decimals as the losses."""
    like = baseline["loss"]
    return formatting.number(baseline["less"], like=like, sign=True) + formatting.interval(
        baseline["less_interval"], like=like
    )


def _cautions(model: Mapping[str, Any], evaluation: Mapping[str, Any]) -> list[str]:
    test, search = evaluation["test"], model["search"]
    found = [_skill(test["baselines"]), opened_text(evaluation["openings"])]
    if search["trials"] > 1:
        found.append(
            f"The trial was selected from {search['trials']} trials on the validation data, so its validation results "
            "are optimistic; `scalecore confirm` estimates by how much."
        )
    if test["seen_in_search"]:
        found.append(
            f"{test['seen_in_search']:,} of {test['windows']:,} test windows were training or validation windows of "
            "the search that selected this trial: for these windows the result is no test."
        )
    found += [f"{flag['text']} [{flag['guard']}]" for flag in model["flags"]]
    return found


def _skill(baselines: Sequence[Mapping[str, Any]]) -> str:
    """Whether the model is significantly better than the best baseline, given the variance over windows."""
    known = [baseline for baseline in baselines if baseline["loss"] is not None]
    if not known:
        return "No baseline could be computed on the test windows."
    best = min(known, key=lambda baseline: float(baseline["loss"]))
    interval = best["less_interval"]
    if interval is None:
        return f"Too few test windows to compare with the best baseline, {best['name']}."
    if interval["high"] < 0:
        return f"Better than the best baseline on test, {best['name']}: {_less(best)}."
    if interval["low"] > 0:
        return f"WORSE than the best baseline on test, {best['name']}: {_less(best)}."
    return f"Not significantly different from the best baseline on test, {best['name']}: {_less(best)}."


def _same(model: Mapping[str, Any]) -> str:
    search = model["search"]
    if not search["same_training"]:
        return (
            "Seed, split or epochs differ from the search, where the trial reached "
            f"{formatting.number(search['value'])}; everything else is the same."
        )
    if search["same_weights"]:
        return "This repeats the training of the search, with bit-identical weights."
    return (
        f"This repeats the training of the search, but the weights are not bit-identical: the trial reached "
        f"{formatting.number(search['value'])} in the search and {formatting.number(model['value'])} here. This is "
        "usual on a GPU, or with another number of threads."
    )
