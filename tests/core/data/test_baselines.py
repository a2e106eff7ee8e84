"""Baselines: always computed, correct, without look-ahead, and with a reason if impossible."""

from __future__ import annotations

import json
import math
from typing import Any

import attrs
import numpy as np
import pytest
import torch

from scalecore.api.dataset_options import Split, TargetOptions
from scalecore.api.targets import label_target, target_of
from scalecore.data.baselines import Baseline, baselines
from scalecore.data.intervals import NOT_NEGATIVE, mean_interval
from scalecore.data.normalise import input_rows
from scalecore.data.prepare import describe
from scalecore.data.regression import applied, logistic_regression, standardised
from scalecore.data.splits import make_parts
from scalecore_torch.training.tasks import task_named

NAMES = ["prior", "previous_label", "last_values", "volatility"]
TASKS = ["binary", "multiclass", "forecast"]


def data(task: str = "binary", *, horizon: int = 3, context: int = 20) -> dict[str, Any]:
    """Arguments for `baselines`: a price, an informative feature, noise; labels persist for some rows."""
    generator = np.random.default_rng(8)
    rows = 500
    values = np.column_stack(
        [100 * np.exp(np.cumsum(generator.normal(0, 0.01, rows))), generator.normal(size=(rows, 2))]
    )
    hidden = values[:, 1] + np.convolve(generator.normal(size=rows + 9), np.ones(10), "valid") / 4
    labels = {"binary": (hidden > 0.5).astype(int), "multiclass": np.digitize(hidden, [-0.5, 0.7]), "forecast": hidden}[
        task
    ]
    return {
        "values": values,
        "labels": labels.astype(np.float64),
        "train": np.arange(context - 1, 300),
        "val": np.arange(330, 450),
        "features": ("close", "help", "noise"),
        "target": label_target(labels, column="y", horizon=horizon),
        "context": context,
    }


def by_name(**given: Any) -> dict[str, Baseline]:
    return {baseline.name: baseline for baseline in baselines(given.pop("values"), given.pop("labels"), **given)}


def outputs_of(baseline: Baseline) -> np.ndarray:
    assert baseline.outputs is not None
    return baseline.outputs


@pytest.mark.parametrize("task", TASKS)
def test_g09_baselines_are_always_computed_with_intervals(task: str) -> None:
    """Prior, previous label and regressions, each with its loss, an interval, and a paired one against the prior."""
    given = data(task)
    found = baselines(given.pop("values"), given.pop("labels"), **given)
    assert [one.name for one in found] == (["prior", "zero", *NAMES[1:]] if task == "forecast" else NAMES)
    for one in found:
        assert one.reason is None
        assert one.loss is not None
        assert one.loss_interval is not None
        assert one.loss_interval.low < one.loss < one.loss_interval.high
        assert (one.over_prior is None) == (one.over_prior_interval is None) == (one.name == "prior")
        assert (one.accuracy is None) == (one.auc is None) == (task == "forecast")
        assert outputs_of(one).shape == (120, 3 if task == "multiclass" else 1)


@pytest.mark.parametrize("task", TASKS)
def test_a_feature_that_helps_beats_the_prior(task: str) -> None:
    """The paired interval of the regression on the last values lies below zero."""
    over = by_name(**data(task))["last_values"].over_prior_interval
    assert over is not None
    assert over.high < 0


@pytest.mark.parametrize("task", TASKS)
def test_losses_and_metrics_are_those_of_the_training_core(task: str) -> None:
    """The trainer's loss and metrics of the same outputs are equal."""
    given = data(task)
    core = task_named(task)
    labels = torch.from_numpy(given["labels"][given["val"]])
    for one in by_name(**given).values():
        outputs = torch.from_numpy(outputs_of(one))
        metrics = core.metrics(outputs, labels)
        assert one.loss == pytest.approx(float(core.losses(outputs, labels).mean()), rel=1e-9)
        assert one.accuracy == metrics.get("accuracy")
        assert one.auc == (None if task == "forecast" else pytest.approx(metrics["auc"]))


def test_the_loss_of_the_prior_equals_the_description(make_panel: Any) -> None:
    """The baseline `prior` and `prior_loss` of the data description are equal."""
    for options in (TargetOptions(kind="direction", horizon=2), TargetOptions(kind="forward_return")):
        panel = make_panel(target=target_of(options), split=Split(kind="scattered", blocks=2))
        parts = make_parts(
            times=panel.times,
            labels=panel.labels,
            context=panel.context,
            horizon=panel.target.label_span,
            look_back=panel.look_back,
            split=panel.split,
        )
        found = by_name(
            values=panel.values,
            labels=panel.labels,
            train=parts.train,
            val=parts.val,
            features=panel.features,
            target=panel.target,
            context=panel.context,
        )
        expected = describe(panel, min_validation_samples=1, min_validation_positives=1).parts["val"].prior_loss
        assert found["prior"].loss == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("horizon", [0, 1, 3])
@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_the_previous_label_of_classes_equals_plain_counting(task: str, horizon: int) -> None:
    """For each window: count what followed the same known label in training, with one window at the prior."""
    given = data(task, horizon=horizon)
    labels, train, lag = given["labels"], given["train"].tolist(), max(1, horizon)
    classes = 2 if task == "binary" else 3
    for place, row in enumerate(given["val"].tolist()):
        chances = []
        for label in range(classes):
            prior = sum(labels[one] == label for one in train) / len(train)
            same = [labels[one] == label for one in train if one >= lag and labels[one - lag] == labels[row - lag]]
            chances.append((sum(same) + prior) / (len(same) + 1))
        logits = [math.log(chances[1] / chances[0])] if classes == 2 else [math.log(chance) for chance in chances]
        if place == 0:
            found = outputs_of(by_name(**given)["previous_label"])
        assert found[place] == pytest.approx(logits)


def test_the_previous_label_of_a_forecast_is_repeated() -> None:
    """A forecast is the label `horizon` rows earlier, the newest known one."""
    given = data("forecast")
    found = by_name(**given)
    np.testing.assert_array_equal(outputs_of(found["previous_label"])[:, 0], given["labels"][given["val"] - 3])
    assert (outputs_of(found["zero"]) == 0).all()
    assert (outputs_of(found["prior"]) == given["labels"][given["train"]].mean()).all()


@pytest.mark.parametrize("task", TASKS)
def test_where_no_label_is_known_yet_the_previous_label_is_the_prior(task: str) -> None:
    """A validation window at the very beginning has no past."""
    given = data(task, context=2) | {"train": np.arange(100, 400), "val": np.arange(1, 80)}
    found = by_name(**given)
    np.testing.assert_allclose(outputs_of(found["previous_label"])[:2], outputs_of(found["prior"])[:2])


def test_the_volatility_regression_equals_plain_loops() -> None:
    """Standard deviation of the log returns over the last 5 and 20 rows, at least the smallest of training.

    60 rows exceed the context.
    """
    given = data()
    close = given["values"][:, 0]
    table = []
    for row in [*given["train"].tolist(), *given["val"].tolist()]:
        line = []
        for span in (5, 20):
            returns = [math.log(close[one] / close[one - 1]) for one in range(row - span + 2, row + 1)]
            mean = sum(returns) / len(returns)
            line.append(math.log(math.sqrt(sum((one - mean) ** 2 for one in returns) / len(returns))))
        table.append(line)
    count = len(given["train"])
    table = np.maximum(table, np.min(table[:count], axis=0))
    x = standardised(table, fit_rows=count)
    # Two features, labels that overlap three times.
    labels = given["labels"][given["train"]].astype(np.int64)
    fitted = logistic_regression(x[:count], labels, outputs=1, penalty=2 * 3 / count)
    assert fitted is not None
    np.testing.assert_allclose(outputs_of(by_name(**given)["volatility"]), applied(fitted, x[count:]), atol=1e-6)


@pytest.mark.parametrize("task", TASKS)
def test_nothing_after_a_row_changes_its_prediction(task: str) -> None:
    """Other values after row t, and other labels that are unknown at t, do not change the outputs up to t."""
    given = data(task)
    row, before = 400, by_name(**data(task))
    given["values"][row + 1 :] *= 1.7
    given["labels"][row - 3 + 1 :] = given["labels"][row - 3 + 1 :][::-1].copy()
    after = by_name(**given)
    kept = int((given["val"] <= row).sum())
    for name, one in before.items():
        np.testing.assert_array_equal(outputs_of(one)[:kept], outputs_of(after[name])[:kept])
    for name in NAMES[1:]:
        assert not np.array_equal(outputs_of(before[name]), outputs_of(after[name]))


def test_the_previous_label_is_the_newest_one_that_is_known() -> None:
    """At horizon 3 the label of row t - 3 decides, and that of row t - 2 does not."""
    given = data("binary")
    before = outputs_of(by_name(**given)["previous_label"])
    place, row = 50, int(given["val"][50])
    for step, moved in ((3, True), (2, False)):
        changed = data("binary")
        changed["labels"][row - step] = 1 - changed["labels"][row - step]
        assert (outputs_of(by_name(**changed)["previous_label"])[place] != before[place]) == moved


def test_rows_of_the_test_part_are_never_read(make_panel: Any) -> None:
    """Erasing all rows and labels that no training or validation window uses changes nothing."""
    panel = make_panel(rows=1500, horizon=2, split=Split(kind="scattered", blocks=3))
    parts = make_parts(times=panel.times, labels=panel.labels, context=6, horizon=2, look_back=0, split=panel.split)
    given = {"train": parts.train, "val": parts.val, "features": panel.features, "target": panel.target}
    seen = input_rows(np.concatenate([parts.train, parts.val]), context=6, rows=1500)
    found = by_name(values=panel.values, labels=panel.labels, context=6, **given)
    erased = by_name(
        values=np.where(seen[:, None], panel.values, -1e3),
        labels=np.where(seen, panel.labels, np.nan),
        context=6,
        **given,
    )
    assert not seen[parts.test].any()
    for name, one in found.items():
        assert one.reason is None
        assert json.dumps(one.report().plain()) == json.dumps(erased[name].report().plain())


def test_g18_intervals_are_those_of_the_losses_and_of_their_differences() -> None:
    """Of losses recomputed from the outputs, with the overlap of the labels."""
    given = data("forecast", horizon=9)
    found = by_name(**given)
    labels = given["labels"][given["val"]]
    prior, regression = ((outputs_of(found[name])[:, 0] - labels) ** 2 for name in ("prior", "last_values"))
    one = found["last_values"]
    assert one.loss_interval == mean_interval(regression, overlap=9, bounds=NOT_NEGATIVE)
    assert one.over_prior_interval == mean_interval(regression - prior, overlap=9)
    assert one.over_prior == pytest.approx(regression.mean() - prior.mean())


def test_constant_features_have_no_effect() -> None:
    """A feature that is constant in training changes no output; if all are constant there is a reason and no loss."""
    given = data()
    plain = outputs_of(by_name(**given)["last_values"])
    more = given | {
        "values": np.column_stack([given["values"], np.where(np.arange(500) < 320, 0.1, 9.0)]),
        "features": (*given["features"], "flat"),
    }
    np.testing.assert_array_equal(outputs_of(by_name(**more)["last_values"]), plain)
    none = by_name(**given | {"values": np.full((500, 3), 2.0)})
    assert none["last_values"].reason == none["volatility"].reason == "no feature varies in training"
    assert none["last_values"].loss is None
    assert none["prior"].loss is not None


@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_separable_labels_have_finite_losses(task: str) -> None:
    """A feature equal to the label does not cause a division by zero."""
    given = data(task)
    given["values"][:, 1] = given["labels"]
    prior, found = (by_name(**given)[name] for name in ("prior", "last_values"))
    assert prior.loss is not None
    assert found.loss is not None
    assert 0 < found.loss < prior.loss / 3
    assert found.accuracy == found.auc == 1.0


def test_a_class_without_a_training_window_is_a_reason_not_a_number() -> None:
    """If validation has a class that training lacks, a prediction with probability 0 has no finite loss."""
    given = data("multiclass")
    given["labels"][:330] = np.minimum(given["labels"][:330], 1)
    found = by_name(**given)
    unseen = "class 2 occurs in validation but not in training: the loss is infinite"
    assert [found[name].reason for name in NAMES] == [unseen, unseen, *["class 2 has no training window"] * 2]
    for one in found.values():
        stored = one.report().plain()
        assert all(value is None for key, value in stored.items() if key not in ("name", "text", "reason"))


def test_two_classes_of_a_multiclass_task_have_two_logits() -> None:
    """Outputs have the shape of the target, and the loss of the prior equals that of a binary target."""
    given = data("binary")
    given["target"] = label_target(given["labels"].astype(int), column="y", horizon=3, task="multiclass")
    found = by_name(**given)
    assert all(outputs_of(one).shape == (120, 2) for one in found.values())
    assert found["prior"].loss == pytest.approx(by_name(**data("binary"))["prior"].loss)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"features": ("opening", "help", "noise")}, "no feature is the closing price 'close'"),
        ({"features": ("Close", "CLOSE", "noise")}, "no feature is the closing price 'close'"),
        ({"context": 4}, "the context of 4 rows is shorter than 5"),
        ({"features": ("help", "close", "noise")}, "'close' is not always positive, so it is not a price"),
    ],
)
def test_volatility_without_a_price_has_a_reason(change: dict[str, Any], reason: str) -> None:
    """No close among the features, two candidates, a context that is too short, or values that are not prices."""
    found = by_name(**data() | change)["volatility"]
    assert found.reason == reason
    assert (found.loss, found.loss_interval, found.accuracy, found.outputs) == (None, None, None, None)


def test_the_close_is_the_column_of_the_target_in_any_case() -> None:
    """The target spells it as its source; a feature may use lower case, and an exact match has priority."""
    target = target_of(TargetOptions(kind="direction", horizon=3), columns={"close": "Adj Close"})
    given = data() | {"target": target}
    expected = outputs_of(by_name(**data())["volatility"])
    for features in (("adj close", "help", "noise"), ("Adj Close", "adj close", "noise")):
        np.testing.assert_array_equal(outputs_of(by_name(**given | {"features": features})["volatility"]), expected)
    assert by_name(**given)["volatility"].reason == "no feature is the closing price 'Adj Close'"


def test_a_constant_price_has_a_finite_volatility() -> None:
    """Without a change for more than a week, the smallest spread of training replaces the logarithm of zero."""
    given = data()
    given["values"][100:110, 0] = given["values"][100, 0]
    given["values"][360:390, 0] = given["values"][360, 0]
    found = by_name(**given)["volatility"]
    assert np.isfinite(outputs_of(found)).all()
    given["values"][:, 0] = 50.0
    assert by_name(**given)["volatility"].reason == "no feature varies in training"


def test_the_stored_form_is_plain_json() -> None:
    """All fields except the outputs, without NaN."""
    for one in by_name(**data()).values():
        stored = json.loads(json.dumps(one.report().plain(), allow_nan=False))
        assert set(stored) == set(attrs.fields_dict(Baseline)) - {"outputs"}
        assert set(stored["loss_interval"]) == {"low", "high", "level", "method", "cosines"}
