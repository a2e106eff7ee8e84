"""Analysis `calibration`: are the probabilities of a trial calibrated, and does a calibrator improve them?

Calibrators are fitted on validation windows and evaluated on others. The selection uses a split of the validation
windows by time: fit on the earlier part, evaluate on the later part. If `evaluate` has opened the test windows for this
training, results on them are reported but do not affect the selection.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from attrs import frozen

from scalecore.api.analysis import AnalysisResult
from scalecore.api.errors import DataError, ExperimentError
from scalecore.api.files import read_json
from scalecore.api.formatting import number
from scalecore.api.predictions import (
    Calibrator,
    Predictions,
    calibrator_file,
    checksum,
    read_predictions,
    trial_predictions,
)
from scalecore.api.statistics import mean_interval
from scalecore.api.trials import StudyView, TrialRecord, TrialState
from scalecore_analysis.calibrating.fitting import UNCALIBRATED, Floats, fit_calibrators
from scalecore_analysis.calibrating.measures import log_losses, measures, reliability
from scalecore_analysis.options import CalibrationOptions
from scalecore_analysis.report.html import figure_files, figure_page
from scalecore_analysis.studies import listed
from scalecore_analysis.vega import GREY, Point, Series, Spec, figure

__all__ = ["CalibrationAnalysis"]

NONE = "none"
LEAST = 50
"""Minimum windows of each part, with at least five of the rarer class."""


@frozen(kw_only=True, eq=False)
class _Windows:
    """Logits and labels of a binary target, [windows] each, in the order of time."""

    logits: Floats
    labels: Floats
    times: Any

    @classmethod
    def of(cls, found: Predictions) -> _Windows:
        order = np.argsort(found.times, kind="stable")
        logits, labels = found.outputs[order, 0].astype(np.float64), found.labels[order].astype(np.float64)
        return cls(logits=logits, labels=labels, times=found.times[order])

    def part(self, first: int, last: int) -> _Windows:
        keep = slice(first, last)
        return _Windows(logits=self.logits[keep], labels=self.labels[keep], times=self.times[keep])

    @property
    def rarer(self) -> int:
        return int(min(self.labels.sum(), len(self.labels) - self.labels.sum()))

    def text(self) -> str:
        first, last = (np.datetime_as_string(self.times[at], unit="D") for at in (0, -1))
        return f"{len(self.labels):,} windows, {first} .. {last}, {int(self.labels.sum())} positive"


class CalibrationAnalysis:
    """Calibration of one trial of one study."""

    def __init__(self, options: CalibrationOptions) -> None:
        self._options = options

    def run(self, studies: Sequence[StudyView]) -> AnalysisResult:
        if len(studies) != 1:
            raise ExperimentError(f"calibration needs exactly one study; studies given: {len(studies)}")
        study, options = studies[0], self._options
        trial = _trial(study, options.trial)
        found = trial_predictions(study.folder, trial)
        if found is None:
            raise DataError(f"trial {trial.number} has no stored predictions: an older version ran it")
        if found.about["task"] != "binary":
            raise DataError(f"calibration needs a binary target; the task of this study is {found.about['task']}")
        overlap = int(found.about["horizon"])
        whole = _Windows.of(found)
        fitted, judged = _cut(whole, share=options.share, gap=overlap)
        inner = fit_calibrators(fitted.logits, fitted.labels)
        rows = _judge(inner, judged, bins=options.bins, overlap=overlap)
        chosen, why = _choose(rows, options.choose)
        final = fit_calibrators(whole.logits, whole.labels, about=_about(study, trial, whole))
        parts = {f"Judged on later validation windows ({judged.text()})": rows}
        shown = {"later validation windows": (inner, judged)}
        test = _test_windows(study, trial)
        if test is not None:
            parts[f"Judged on test windows ({test.text()})"] = _judge(final, test, bins=options.bins, overlap=overlap)
            shown["test windows"] = (final, test)
        figures = _figures(shown, options.bins)
        page = figure_page(f"Calibration of trial {trial.number}", figures)
        files = {"figures.html": page, **figure_files(figures, options.figures)}
        calibrator = final.get(chosen)
        if isinstance(calibrator, Calibrator):
            files[calibrator_file(trial.number)] = json.dumps(calibrator.to_json(), indent=2) + "\n"
        return AnalysisResult(
            title=f"Calibration of trial {trial.number} of {study.name}",
            summary=[
                f"Fitted on {fitted.text()}.",
                f"Selected: {chosen}; {why}.",
                "No results on test windows: `scalecore evaluate` has not opened them for this training."
                if test is None
                else "`scalecore evaluate` opened the test windows for this training; the selection ignores them.",
            ],
            tables={title: [_shown(row) for row in part] for title, part in parts.items()}
            | {
                "Calibrators, fitted on all validation windows": [_row(name, one) for name, one in final.items()],
                "Reliability without a calibrator": reliability(
                    UNCALIBRATED.apply(judged.logits), judged.labels, bins=options.bins
                ),
            },
            data={
                "trial": trial.number,
                "hash": trial.hash,
                "chosen": chosen,
                "why": why,
                "fitted": len(fitted.labels),
                "judged": rows,
                "test": parts[list(parts)[1]] if test is not None else None,
                "calibrators": {
                    name: one.to_json() if isinstance(one, Calibrator) else one for name, one in final.items()
                },
                "file": calibrator_file(trial.number) if isinstance(calibrator, Calibrator) else None,
            },
            notes=[
                "ECE is above zero even for perfectly calibrated probabilities. The table therefore shows the ECE of "
                "labels drawn from the probabilities: mean, 95 % quantile, and share of draws at least as large (p).",
                "Overlapping labels correlate neighbouring windows, so the draws vary slightly too little.",
                "better by: log loss without minus log loss with the calibrator, paired by window, with its 95 % "
                "interval.",
            ],
            files=files,
        )


def _trial(study: StudyView, number: int | None) -> TrialRecord:
    known = {trial.number: trial for trial in study.trials if trial.state is TrialState.COMPLETED}
    if number is None:
        if study.best is None:
            raise DataError(f"{study.name}: no trial has completed")
        return study.best
    if number not in known:
        numbers = listed([str(one) for one in sorted(known)]) or "none"
        raise ExperimentError(
            f"trial={number}: {study.name} has no completed trial with this number; completed: {numbers}"
        )
    return known[number]


def _cut(whole: _Windows, *, share: float, gap: int) -> tuple[_Windows, _Windows]:
    """Windows to fit on, and later windows to evaluate on, with a gap so that their labels do not overlap."""
    first = round(share * len(whole.labels))
    fitted, judged = whole.part(0, first), whole.part(first + gap, len(whole.labels))
    for part, name in ((fitted, "to fit on"), (judged, "to evaluate on")):
        if len(part.labels) < LEAST or part.rarer < 5:
            raise DataError(
                f"{len(part.labels)} validation windows {name}, {part.rarer} of the rarer class: at least {LEAST} and "
                "5 are required"
            )
    return fitted, judged


def _judge(
    calibrators: Mapping[str, Calibrator | str], windows: _Windows, *, bins: int, overlap: int
) -> list[dict[str, Any]]:
    """One row per calibrator; the first row is without a calibrator."""
    plain = UNCALIBRATED.apply(windows.logits)
    before = log_losses(plain, windows.labels)
    rows: list[dict[str, Any]] = []
    for name, one in {NONE: UNCALIBRATED, **calibrators}.items():
        if isinstance(one, str):
            rows.append({"calibrator": name, "why not": one})
            continue
        chances = one.apply(windows.logits)
        gained = mean_interval(before - log_losses(chances, windows.labels), overlap=overlap)
        row = {"calibrator": name, **measures(chances, windows.labels, bins=bins, overlap=overlap)}
        row |= {"better by": float(before.mean()) - row["log loss"], "better low": None, "better high": None}
        if gained is not None and name != NONE:
            row |= {"better low": gained.low, "better high": gained.high}
        rows.append(row)
    return rows


def _choose(rows: Sequence[Mapping[str, Any]], wanted: str) -> tuple[str, str]:
    """The selected calibrator, and the reason."""
    known = {row["calibrator"]: row for row in rows if "log loss" in row}
    if wanted != "auto":
        if wanted not in known:
            reason = next(row["why not"] for row in rows if row["calibrator"] == wanted)
            raise DataError(f"choose={wanted}: {reason}")
        return wanted, "requested"
    helpful = [row for row in known.values() if row.get("better low") is not None and row["better low"] > 0]
    if not helpful:
        return NONE, "on windows not used for fitting, no calibrator is significantly better than none"
    best = min(helpful, key=lambda row: float(row["log loss"]))
    by, low, high = (number(best[key], like=best["log loss"]) for key in ("better by", "better low", "better high"))
    return best["calibrator"], f"its log loss is lower than without a calibrator by {by} ({low} to {high})"


def _about(study: StudyView, trial: TrialRecord, windows: _Windows) -> dict[str, Any]:
    data = study.plan.data
    return {
        "study": study.name,
        "trial": trial.number,
        "hash": trial.hash,
        "data": data.fingerprint,
        "target": data.target.hash,
        "windows": len(windows.labels),
        "positives": int(windows.labels.sum()),
    }


def _test_windows(study: StudyView, trial: TrialRecord) -> _Windows | None:
    """Test predictions that `evaluate` stored for exactly this training; never computed here."""
    folder = study.folder / "promoted" / f"trial_{trial.number:04d}"
    evaluation = read_json(folder / "evaluation.json")
    if not isinstance(evaluation, dict) or evaluation.get("hash") != trial.hash:
        return None
    kept = evaluation["test"]["predictions"]
    path = folder / kept["file"]
    if not path.is_file() or checksum(path) != kept["sha256"]:
        raise DataError(f"{path}: not the test predictions of trial {trial.number}; run `scalecore evaluate` again")
    windows = _Windows.of(read_predictions(path))
    return windows if windows.rarer else None


def _shown(row: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of the table; the JSON has all."""
    names = ["calibrator", "log loss", "low", "high", "better by", "better low", "better high", "Brier", "reliability"]
    names += ["resolution", "uncertainty", "within bins", "ECE", "ECE if calibrated", "95 % of it below", "p"]
    names += ["ECE debiased", "slope", "intercept", "why not"]
    return {name: row.get(name) for name in names}


def _row(name: str, one: Calibrator | str) -> dict[str, Any]:
    if isinstance(one, str):
        return {"calibrator": name, "form": one}
    if one.kind == "isotonic":
        return {"calibrator": name, "form": f"{len(one.logits)} knots"}
    offset = f" {'-' if one.intercept < 0 else '+'} {abs(one.intercept):.4g}" if one.intercept else ""
    return {"calibrator": name, "form": f"sigmoid({one.slope:.4g} logit{offset})"}


def _figures(shown: Mapping[str, tuple[Mapping[str, Calibrator | str], _Windows]], bins: int) -> dict[str, Spec]:
    """A reliability diagram for each set of windows, with the 95 % band of calibrated probabilities."""
    figures = {}
    for title, (calibrators, windows) in shown.items():
        diagonal = [Point(x=0, y=0), Point(x=1, y=1)]
        series = [
            Series(
                name="perfect calibration", points=diagonal, marks=["line"], colour=GREY, style={"strokeDash": [6, 4]}
            )
        ]
        for name, one in {NONE: UNCALIBRATED, **calibrators}.items():
            if isinstance(one, str):
                continue
            rows = reliability(one.apply(windows.logits), windows.labels, bins=bins)
            if name == NONE:
                band = [Point(x=row["probability"], low=row["low"], high=row["high"]) for row in rows]
                series.append(Series(name="95 % band if calibrated (none)", points=band, marks=["area"], colour=GREY))
            points = [Point(x=row["probability"], y=row["share"], text=f"{row['windows']} windows") for row in rows]
            series.append(Series(name=name, points=points, marks=["line", "point"]))
        figures[f"Reliability, {title}"] = figure(*series, x="probability", y="share of positives")
    return figures
