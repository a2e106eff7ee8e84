from __future__ import annotations

from typing import Any

import pytest

from scalecore.api.data_report import DataReport
from scalecore.api.record_parts import EpochResult
from scalecore.api.space import Architecture
from scalecore.api.trials import Origin, TrialRecord, TrialState
from scalecore.config.kept import checked
from scalecore.study.flags import small_denominator, suspicions
from scalecore.testing.plans import make_data


def data(task: str = "binary") -> DataReport:
    """A validation part of 100 windows, 30 of them positive; its prior costs 0.61."""
    part = {"windows": 100, "classes": [70, 30], "prior_loss": 0.61, "entropy": 0.04}
    return make_data(task=task, baselines=[], split={"parts": {"val": part}})


def best(**changes: Any) -> dict[str, Any]:
    return {
        "val_loss": 0.6,
        "accuracy": 0.72,
        "auc": 0.58,
        "brier": 0.2,
        "confusion_matrix": {"tn": 68, "fp": 2, "fn": 26, "tp": 4},
        "predictions": {"min": 0.2, "max": 0.6, "std": 0.05},
        **changes,
    }


def record(number: int, *, state: TrialState = TrialState.COMPLETED, **changes: Any) -> TrialRecord:
    return TrialRecord(
        number=number,
        hash=str(number),
        seed=number,
        state=state,
        reason=None,
        value=0.6,
        origin=Origin(kind="sampled"),
        architecture=Architecture(values={}, num_parameters=1, flops=1),
        hyperparameters={},
        best=checked(EpochResult, best(**changes)),
    )


def flags(found: dict[str, Any], *earlier: TrialRecord, task: str = "binary") -> list[tuple[str, str]]:
    return [(flag["guard"], flag["kind"]) for flag in suspicions(found, data=data(task), earlier=earlier)]


def test_g09_a_healthy_trial_has_no_flag() -> None:
    """It has spread, both classes, unique metrics, and a plausible loss."""
    assert flags(best(), record(0, val_loss=0.61)) == []


def test_g09_a_constant_is_collapsed() -> None:
    """Predictions spread little compared with the labels; for forecasts, with the labels' standard deviation."""
    constant = {"min": 0.299, "max": 0.301, "std": 0.0004}
    assert flags(best(predictions=constant)) == [("G09", "collapsed")]
    assert flags({"val_loss": 0.6, "mae": 0.1, "predictions": constant}, task="forecast") == [("G09", "collapsed")]
    spread = {"min": 0.2, "max": 0.4, "std": 0.01}
    assert flags({"val_loss": 0.6, "mae": 0.1, "predictions": spread}, task="forecast") == []


@pytest.mark.parametrize(
    "matrix", [{"tn": 70, "fp": 0, "fn": 30, "tp": 0}, [[0, 70, 0], [0, 20, 0], [0, 10, 0]]], ids=["binary", "classes"]
)
def test_g09_one_class_for_every_window_is_told(matrix: Any) -> None:
    """Its accuracy is the base rate; this alone is not a collapse."""
    assert flags(best(confusion_matrix=matrix)) == [("G09", "one_class")]


def test_g09_identical_metrics_in_two_trials_are_told() -> None:
    """The flag names the earlier trial. Metrics of a failed trial do not count."""
    assert flags(best(), record(0, val_loss=0.7), record(3)) == [("G09", "identical")]
    (flag,) = suspicions(best(), data=data(), earlier=[record(3)])
    assert flag["text"] == (
        "all metrics are identical to those of trial 3: the settings that differ have no effect, or both predict a "
        "constant"
    )
    assert flags(best(), record(3, state=TrialState.PRUNED)) == []
    assert flags(best(), record(3, val_loss=0.6000000001)) == []


def test_g01_a_loss_that_the_base_rate_does_not_allow_is_told() -> None:
    """Below half of the constant prior's loss."""
    assert flags(best(val_loss=0.3)) == [("G01", "too_good")]


def test_g19_a_rate_over_too_few_windows_is_told() -> None:
    """The flag has both counts; a rate over enough windows, or another metric, has no flag."""
    one = {"precision": 1.0, "recall": 0.03, "confusion_matrix": {"tn": 70, "fp": 0, "fn": 29, "tp": 1}}
    flag = small_denominator(one, metric="precision", least=20)
    assert flag == {
        "guard": "G19",
        "kind": "small_denominator",
        "text": "precision 1.0000 is a rate over 1 window; a comparison requires 20",
    }
    assert small_denominator(one, metric="precision", least=1) is None
    assert small_denominator(one, metric="recall", least=20) is None
    assert small_denominator({"val_loss": 0.3}, metric="val_loss", least=20) is None
    none = {"precision": None, "confusion_matrix": {"tn": 70, "fp": 0, "fn": 30, "tp": 0}}
    flag = small_denominator(none, metric="precision", least=20)
    assert flag is not None
    assert (
        flag["text"] == "precision is undefined because no window is predicted positive: it counts as the worst value"
    )
