"""The decision threshold on the model card and on the console."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from scalecore.api import formatting
from scalecore_promotion.threshold import DecisionThreshold, ResultsAtThreshold, ThresholdResults

METRICS = ("precision", "recall", "f1", "accuracy", "mcc", "balanced_accuracy", "predicted_share")
CURVE = ("threshold", "precision", "recall", "f1", "mcc", "predicted_share")
ROWS = 11
"""Maximum number of points of the curve on the card."""


def threshold_section(threshold: DecisionThreshold, found: ThresholdResults, *, calibrated: bool) -> list[str]:
    """The section of the card; `calibrated` if the model has a calibrator."""
    parts = {
        "validation (used for the choice)": found.validation,
        "test": found.test,
        "test at 0.5": found.test_at_half,
    }
    lines = [
        "## Decision threshold",
        "",
        f"{threshold.value:.4g}: {threshold.reason}. A window is positive if its `probability` is at least this; "
        "`scalecore predict` writes the decision in the column `decision`."
        + (" The calibrated probability is not compared with it." if calibrated else ""),
        "",
        f"| | {' | '.join(parts)} |",
        f"|---|{'---|' * len(parts)}",
        *(
            f"| {name.replace('_', ' ')} | {' | '.join(_measured(part, name) for part in parts.values())} |"
            for name in METRICS
        ),
        "",
        "The threshold was chosen on the validation windows, so their results at it are optimistic; those on test "
        "windows are not. Intervals do not count the uncertainty of the choice.",
    ]
    if len(found.criteria) > 1:
        lines.append(
            f"This model was evaluated by several criteria ({', '.join(found.criteria)}): one chosen by its test "
            "results is optimistic too."
        )
    return [*lines, "", "On validation windows:", "", *_curve(threshold.curve), ""]


def threshold_lines(found: ThresholdResults) -> list[str]:
    """The threshold and its test results in a few lines."""
    how = f"largest {found.criterion} on validation windows" if found.chosen else "none could be chosen"
    return [
        f"decision threshold {found.value:.4g} ({how}); on test windows there, and at 0.5:",
        *(
            f"  {name:14} {_measured(found.test, name)}, {_measured(found.test_at_half, name)}"
            for name in ("precision", "recall", "f1", "mcc")
        ),
    ]


def _measured(part: ResultsAtThreshold, name: str) -> str:
    value = part.metrics[name]
    return "undefined" if value is None else formatting.measured(value, part.intervals.get(name))


def _curve(curve: Mapping[str, Sequence[float | None]]) -> list[str]:
    """Some points of the curve as a table."""
    step = max(1, -(-len(curve["threshold"]) // ROWS))
    columns = [[_cell(value) for value in curve[name][::step]] for name in CURVE]
    return [
        f"| {' | '.join(name.replace('_', ' ') for name in CURVE)} |",
        "|" + "---|" * len(CURVE),
        *(f"| {' | '.join(cells)} |" for cells in zip(*columns, strict=True)),
    ]


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
