"""The decision threshold: chosen on validation windows, with counts that scikit-learn confirms."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy.special import expit, logit
from sklearn import metrics

from scalecore.api.errors import RefusedError
from scalecore.api.predictions import Predictions
from scalecore_promotion.threshold import (
    CRITERIA,
    POINTS,
    DecisionThreshold,
    _Counts,
    _further_intervals,
    choose_threshold,
    criteria_shown,
    results_at,
    results_from,
    threshold_from,
    threshold_results,
)
from scalecore_promotion.threshold_text import threshold_lines, threshold_section

Array = npt.NDArray[Any]
SKLEARN: dict[str, Callable[[Array, Array], float]] = {
    "mcc": metrics.matthews_corrcoef,
    "f1": metrics.f1_score,
    "balanced_accuracy": metrics.balanced_accuracy_score,
}


def predictions(logits: Array, labels: Array, *, part: str = "val") -> Predictions:
    count = len(logits)
    return Predictions(
        outputs=np.asarray(logits, dtype=np.float32)[:, None],
        labels=np.asarray(labels, dtype=np.float32),
        times=np.datetime64("2020-01-01", "ns") + np.arange(count) * np.timedelta64(1, "D"),
        rows=np.arange(count),
        about={"part": part, "epoch": 1, "task": "binary", "data": "d", "target": "t", "horizon": 1, "point": 0},
    )


def drawn(seed: int, *, count: int = 400, shift: float = -1.0, digits: int = 6, part: str = "val") -> Predictions:
    """Informative logits around `shift`; few digits give equal ones."""
    generator = np.random.default_rng(seed)
    labels = generator.random(count) < 0.3
    return predictions(np.round(generator.normal(shift + labels, 0.8), digits), labels, part=part)


def chosen(found: Predictions, **changes: Any) -> DecisionThreshold:
    settings: dict[str, Any] = {"overlap": 1, "least": 20, **changes}
    return choose_threshold(found, **settings)


@pytest.mark.parametrize("criterion", CRITERIA)
@pytest.mark.parametrize("digits", [6, 1])
def test_no_other_threshold_is_better(criterion: Any, digits: int) -> None:
    """By scikit-learn's metric, among all decisions that the probabilities allow, also with many equal ones."""
    found = drawn(1, digits=digits)
    chances, labels = expit(found.outputs[:, 0].astype(float)), found.labels > 0.5
    threshold = chosen(found, criterion=criterion)
    decisions = [chances >= at for at in np.unique(chances)]
    allowed = [one for one in decisions if 20 <= one.sum() <= len(one) - 20]
    best = max(SKLEARN[criterion](labels, one) for one in allowed)
    assert threshold.chosen
    assert SKLEARN[criterion](labels, chances >= threshold.value) == pytest.approx(best, abs=1e-12)


def test_the_curve_agrees_with_scikit_learn() -> None:
    """Every point, with the chosen one, has the metrics of the decisions at its threshold; undefined ones are null."""
    found = drawn(2, count=700)
    chances, labels = expit(found.outputs[:, 0].astype(float)), found.labels > 0.5
    threshold = chosen(found)
    curve = threshold.curve
    assert len(curve["threshold"]) == POINTS
    assert threshold.value in curve["threshold"]
    assert curve["threshold"] == sorted(curve["threshold"], key=float)
    for at, value in enumerate(curve["threshold"]):
        assert value is not None
        decided = chances >= value
        assert curve["precision"][at] == pytest.approx(metrics.precision_score(labels, decided))
        assert curve["recall"][at] == pytest.approx(metrics.recall_score(labels, decided))
        assert curve["f1"][at] == pytest.approx(metrics.f1_score(labels, decided))
        assert curve["predicted_share"][at] == pytest.approx(decided.mean())
        if decided.all():
            assert curve["mcc"][at] is None
        else:
            assert curve["mcc"][at] == pytest.approx(metrics.matthews_corrcoef(labels, decided))


def test_a_threshold_is_halfway_between_two_probabilities() -> None:
    """A rounding error, for example on another processor, then changes no decision; extreme logits are no exception."""
    found = predictions(np.array([-800.0, -60.0, -2.0, 1.0, 40.0, 800.0]), np.array([0, 0, 0, 1, 1, 1]))
    threshold = chosen(found, least=1)
    assert threshold.value == pytest.approx((expit(-2) + expit(1)) / 2)
    chances = expit(found.outputs[:, 0].astype(float))
    counts = _Counts.of(chances, found.labels > 0.5)
    assert [int((chances >= at).sum()) for at in counts.thresholds] == (counts.tp + counts.fp).tolist()


def test_of_equally_good_thresholds_the_nearest_to_one_half_is_taken() -> None:
    """Both sides of the mixed group have a balanced accuracy of 5/6."""
    logits, labels = np.repeat([-2.0, 0.5, 3.0], 10), np.array([0] * 10 + [0, 1] * 5 + [1] * 10)
    threshold = chosen(predictions(logits, labels), least=5, criterion="balanced_accuracy")
    assert threshold.value == pytest.approx((expit(-2) + expit(0.5)) / 2)
    assert threshold.curve["balanced_accuracy"] == pytest.approx([0.5, 5 / 6, 5 / 6])


def test_g19_no_threshold_wins_by_a_few_windows() -> None:
    """Both decisions need the required number of effective windows: overlapping labels count once."""
    labels = np.zeros(300, dtype=int)
    labels[:30] = 1
    logits = np.where(np.arange(300) < 5, 4.0, np.random.default_rng(0).normal(-1, 0.1, 300))
    few = chosen(predictions(logits, labels), criterion="mcc", least=1)
    more = chosen(predictions(logits, labels), criterion="mcc", least=20)
    overlapping = chosen(predictions(logits, labels), criterion="mcc", least=20, overlap=5)
    counts = [int((expit(logits) >= one.value).sum()) for one in (few, more, overlapping)]
    assert counts[0] == 5
    assert counts[1] >= 20
    assert 100 <= counts[2] <= 200


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (
            predictions(np.full(200, 0.3), np.arange(200) % 2),
            "0.5, because no threshold decides at least 20 effective windows as positive and 20 as negative "
            "(200 validation windows, 100 positive)",
        ),
        (
            predictions(np.arange(200) / 100, np.arange(200) < 100),
            "0.5, because by mcc no threshold is better than chance (200 validation windows, 100 positive)",
        ),
        (
            predictions(np.arange(30) / 10, np.arange(30) > 15),
            "0.5, because no threshold decides at least 20 effective windows as positive and 20 as negative "
            "(30 validation windows, 14 positive)",
        ),
        (
            predictions(np.arange(200) / 100, np.zeros(200)),
            "0.5, because no threshold decides at least 20 effective windows as positive and 20 as negative "
            "(200 validation windows, 0 positive)",
        ),
    ],
    ids=["constant", "inverted", "few", "one class"],
)
def test_without_a_useful_threshold_it_stays_at_one_half(found: Predictions, reason: str) -> None:
    """With the reason; the curve is stored all the same."""
    threshold = chosen(found)
    assert (threshold.value, threshold.chosen, threshold.reason) == (0.5, False, reason)
    assert threshold.curve["threshold"]


def test_f1_is_not_won_by_calling_everything_positive() -> None:
    """That needs no model: the criterion must exceed it."""
    generator = np.random.default_rng(5)
    labels = generator.random(400) < 0.5
    noise = chosen(predictions(-generator.normal(labels, 1.0), labels), criterion="f1")
    assert noise.reason == (
        f"0.5, because by f1 no threshold is better than chance (400 validation windows, {labels.sum()} positive)"
    )


def test_g15_a_threshold_is_never_chosen_on_test_windows() -> None:
    """Predictions of another part are refused, and test windows change neither threshold nor curve."""
    with pytest.raises(RefusedError) as refused:
        chosen(drawn(3, part="test"))
    assert str(refused.value) == (
        "a decision threshold is chosen on validation windows, never on the part 'test' [G15]"
    )
    validation, threshold = drawn(3), chosen(drawn(3))
    for seed in (4, 5):
        test = drawn(seed, shift=2.0, part="test")
        found = threshold_results(threshold, validation=validation, test=test, overlap=1, criteria=["mcc"])
        assert found.value == threshold.value
        assert found.test.windows == 400


def test_results_at_a_threshold_are_those_of_its_decisions() -> None:
    """Metrics as scikit-learn has them, each rate with an interval around it, and the counts."""
    found = drawn(6, count=600, part="test")
    chances, labels = expit(found.outputs[:, 0].astype(float)), found.labels > 0.5
    result = results_at(0.31, found, overlap=1)
    decided = chances >= 0.31
    expected = {
        "accuracy": metrics.accuracy_score(labels, decided),
        "precision": metrics.precision_score(labels, decided),
        "recall": metrics.recall_score(labels, decided),
        "f1": metrics.f1_score(labels, decided),
        "mcc": metrics.matthews_corrcoef(labels, decided),
        "balanced_accuracy": metrics.balanced_accuracy_score(labels, decided),
        "predicted_share": decided.mean(),
    }
    assert result.metrics == pytest.approx(expected)
    tn, fp, fn, tp = metrics.confusion_matrix(labels, decided).ravel()
    assert result.confusion_matrix == {"tn": tn, "fp": fp, "fn": fn, "tp": tp}
    for name in expected:
        interval, value = result.intervals[name], result.metrics[name]
        assert interval is not None
        assert value is not None
        assert interval.low < value < interval.high


def test_intervals_of_mcc_and_balanced_accuracy_cover_the_true_value() -> None:
    """Of 300 independent samples of 400 windows, about 95 % of the intervals contain the value of a large sample."""

    def sample(generator: np.random.Generator, count: int) -> tuple[Array, Array]:
        labels = generator.random(count) < 0.3
        return generator.normal(labels, 1.0) > 0.6, labels

    decisions, labels = sample(np.random.default_rng(0), 1_000_000)
    truth = {name: SKLEARN[name](labels, decisions) for name in ("mcc", "balanced_accuracy")}
    truth["predicted_share"] = float(decisions.mean())
    covered = dict.fromkeys(truth, 0)
    for seed in range(300):
        for name, interval in _further_intervals(*sample(np.random.default_rng(seed + 1), 400), overlap=1).items():
            assert interval is not None
            covered[name] += interval.low <= truth[name] <= interval.high
    assert all(0.91 <= count / 300 <= 0.98 for count in covered.values()), covered


def test_a_rate_without_a_denominator_is_undefined() -> None:
    """No window reaches the threshold: precision and MCC are null, the recall is 0."""
    found = predictions(np.full(200, logit(0.2)), np.arange(200) % 4 == 0)
    result = results_at(0.9, found, overlap=1)
    assert (result.metrics["precision"], result.metrics["mcc"], result.metrics["recall"]) == (None, None, 0.0)
    assert result.intervals["precision"] is None


def test_several_criteria_are_remembered_and_reported() -> None:
    """Trying criteria until the test results please is choosing by test results."""
    threshold, validation, test = chosen(drawn(3)), drawn(3), drawn(4, part="test")
    once = threshold_results(
        threshold, validation=validation, test=test, overlap=1, criteria=criteria_shown(None, "mcc")
    )
    assert once.criteria == ["mcc"]
    criteria = criteria_shown({"threshold": once.to_json()}, "f1")
    assert criteria == ["mcc", "f1"]
    assert criteria_shown({"threshold": {"criteria": criteria}}, "mcc") == criteria
    twice = threshold_results(threshold, validation=validation, test=test, overlap=1, criteria=criteria)
    warning = (
        "This model was evaluated by several criteria (mcc, f1): one chosen by its test results is optimistic too."
    )
    assert warning not in threshold_section(threshold, once, calibrated=False)
    assert warning in threshold_section(threshold, twice, calibrated=False)


def test_the_card_names_the_probability_that_decides() -> None:
    """With a calibrator it says that the calibrated probability does not. The stored form is read as it was written."""
    threshold, validation, test = chosen(drawn(3)), drawn(3), drawn(4, part="test")
    found = threshold_results(threshold, validation=validation, test=test, overlap=1, criteria=["mcc"])
    assert threshold_from(json.loads(json.dumps(threshold.to_json()))).to_json() == threshold.to_json()
    assert results_from(json.loads(json.dumps(found.to_json()))).to_json() == found.to_json()
    plain = "\n".join(threshold_section(threshold, found, calibrated=False))
    assert "A window is positive if its `probability` is at least this" in plain
    assert "calibrated" not in plain
    assert "The calibrated probability is not compared with it." in "\n".join(
        threshold_section(threshold, found, calibrated=True)
    )
    assert threshold_lines(found)[0] == (
        f"decision threshold {threshold.value:.4g} (largest mcc on validation windows); "
        "on test windows there, and at 0.5:"
    )
