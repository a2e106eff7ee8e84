"""Targets: the rules of labels, their definition and its hash."""

from __future__ import annotations

from pathlib import Path

import attrs
import numpy as np
import pandas as pd
import pytest

from scalecore.api.dataset_options import TargetOptions
from scalecore.api.errors import DataError
from scalecore.api.targets import Target, label_target, labels, target_of

SHARED = Path(__file__).parents[4] / "shared" / "data" / "market" / "SPY.parquet"

# Base rates of a rise of 1 % on SPY, 1999-03-10 to 2024-09-12, as published with the data.
RATES = {
    ("close", "at_horizon"): (0.1452, 0.2789, 0.3433),
    ("close", "max"): (0.1452, 0.3556, 0.4786),
    ("high", "max"): (0.2435, 0.4820, 0.5975),
}


def naive_label(target: Target, *, close: np.ndarray, price: np.ndarray, row: int) -> float:
    """The definition, written as a loop."""
    future = [price[row + step] for step in range(1, target.horizon + 1)]
    reached = future[-1] if target.rule == "at_horizon" else max(future)
    if target.kind == "forward_return":
        return float(reached / close[row] - 1)
    return float(reached >= close[row] * (1 + (target.threshold or 0.0)))


@pytest.mark.parametrize(("price", "rule"), list(RATES))
def test_base_rates_of_all_three_rules_equal_the_published_ones(price: str, rule: str) -> None:
    """Over 25 years of SPY, each rule has its published base rate at horizons 1, 3 and 5."""
    if not SHARED.exists():
        pytest.skip("the full SPY series is not part of the repository, since its source has no licence")
    bars = pd.read_parquet(SHARED).loc["1999-03-10":"2024-09-12"]
    rates = []
    for horizon in (1, 3, 5):
        target = target_of(TargetOptions(horizon=horizon, threshold=0.01, price=price, rule=rule))  # type: ignore[arg-type]
        found = labels(target, close=bars["Close"], price=bars[price.title()])
        assert np.isfinite(found).sum() == len(bars) - horizon
        rates.append(round(float(np.nanmean(found)), 4))
    assert tuple(rates) == RATES[price, rule]


@pytest.mark.parametrize("horizon", [1, 2, 3, 5])
@pytest.mark.parametrize(
    "options",
    [
        {"threshold": 0.01},
        {"threshold": 0.005, "price": "close"},
        {"threshold": 0.02, "price": "high", "rule": "at_horizon"},
        {"kind": "direction"},
        {"kind": "forward_return"},
    ],
)
def test_labels_equal_the_definition_row_by_row(examples: Path, options: dict, horizon: int) -> None:
    """Vectorised labels of real bars equal the definition, and rows without a future are unknown."""
    bars = pd.read_parquet(examples / "spy_daily.parquet").iloc[:400]
    close = bars["Close"].to_numpy()
    target = target_of(TargetOptions(horizon=horizon, **options))
    price = bars["High"].to_numpy() if target.price == "high" else close
    found = labels(target, close=close, price=price)
    known = len(close) - horizon
    expected = [naive_label(target, close=close, price=price, row=row) for row in range(known)]
    assert found[:known].tolist() == pytest.approx(expected, abs=0)
    assert np.isnan(found[known:]).all()


def test_g01_the_horizon_reaches_the_labels(examples: Path) -> None:
    """Other horizons have other labels and a higher base rate: no study can silently train on one-day labels."""
    bars = pd.read_parquet(examples / "spy_daily.parquet")
    rates = [
        float(np.nanmean(labels(target_of(TargetOptions(horizon=h)), close=bars["Close"], price=bars["High"])))
        for h in (1, 2, 3, 5)
    ]
    assert rates == sorted(rates)
    assert len(set(rates)) == 4


def test_a_price_equal_to_the_level_counts() -> None:
    """The comparison is >= on float64 without a tolerance."""
    target = target_of(TargetOptions(threshold=0.5, price="close"))
    assert labels(target, close=[2.0, 3.0, 3.0], price=[2.0, 3.0, 3.0])[:2].tolist() == [1.0, 0.0]
    below = np.nextafter(3.0, 0.0)
    assert labels(target, close=[2.0, below, 3.0], price=[2.0, below, 3.0])[0] == 0.0


def test_labels_of_a_series_shorter_than_the_horizon_are_unknown() -> None:
    """Three rows have no future five rows ahead."""
    target = target_of(TargetOptions(horizon=5))
    assert np.isnan(labels(target, close=[1.0, 2.0, 3.0], price=[1.0, 2.0, 3.0])).all()
    assert labels(target, close=[], price=[]).shape == (0,)


def test_labels_are_unknown_even_where_part_of_the_future_decides() -> None:
    """A rise on the last known day does not define the label of a window with an open horizon: that would bias the
    rate."""
    target = target_of(TargetOptions(horizon=3, threshold=0.01, price="close"))
    found = labels(target, close=[1.0, 2.0, 4.0, 8.0], price=[1.0, 2.0, 4.0, 8.0])
    assert found[0] == 1.0
    assert np.isnan(found[1:]).all()


def test_columns_of_unequal_length_are_refused() -> None:
    """Close and price are two columns of one table."""
    with pytest.raises(ValueError, match=r"close \(2,\) and price \(3,\) must be two columns of one length"):
        labels(target_of(TargetOptions()), close=[1, 2], price=[1, 2, 3])


def test_g07_target_hash_changes_with_every_field() -> None:
    """CLOSE and HIGH labels, or other horizons or thresholds, never have equal hashes."""
    target = target_of(TargetOptions(horizon=3))
    others = [
        target_of(TargetOptions(horizon=3, price="close")),
        target_of(TargetOptions(horizon=3, rule="at_horizon")),
        target_of(TargetOptions(horizon=5)),
        target_of(TargetOptions(horizon=3, threshold=0.02)),
        target_of(TargetOptions(horizon=3), columns={"high": "Adj High"}),
        target_of(TargetOptions(horizon=3, kind="direction")),
        target_of(TargetOptions(horizon=3, kind="forward_return")),
        attrs.evolve(target, outputs=2),
    ]
    assert len({one.hash for one in [target, *others]}) == len(others) + 1
    assert target_of(TargetOptions(horizon=3, threshold=0.01, price="high", rule="max")).hash == target.hash


def test_g07_both_rules_are_one_target_at_horizon_1() -> None:
    """One row ahead both rules use the same price: studies that differ only in the rule's name are comparable."""
    hashes = {target_of(TargetOptions(rule=rule)).hash for rule in (None, "max", "at_horizon")}
    assert len(hashes) == 1


def test_target_as_json_is_complete() -> None:
    """The record contains every field of the definition, its hash, and its text."""
    target = target_of(TargetOptions(horizon=3, threshold=0.02))
    assert target.to_json() == {
        "kind": "threshold",
        "horizon": 3,
        "threshold": 0.02,
        "price": "high",
        "rule": "max",
        "columns": {"close": "Close", "high": "High"},
        "task": "binary",
        "outputs": 1,
        "hash": target.hash,
        "text": "max(HIGH[t+1..t+3]) >= CLOSE[t] * (1 + 0.02)",
    }
    assert target_of(TargetOptions(kind="direction")).text == "CLOSE[t+1] >= CLOSE[t]"
    assert target_of(TargetOptions(kind="forward_return", horizon=2)).text == "CLOSE[t+2] / CLOSE[t] - 1"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "direction", "threshold": 0.1}, "threshold belongs to `kind: threshold`, not to `kind: direction`"),
        ({"kind": "direction", "price": "high"}, "`kind: direction` compares closes: omit price, or set it to close"),
        (
            {"kind": "forward_return", "rule": "max"},
            "`kind: forward_return` uses the price at t+horizon: omit rule, or set it to at_horizon",
        ),
    ],
)
def test_options_that_the_kind_does_not_use_are_refused(options: dict, message: str) -> None:
    """No option of a target is silently ignored."""
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole message is compared
        TargetOptions(**options)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("values", "task", "outputs"),
    [
        ([0, 1, 1, 0], "binary", 1),
        ([0.0, 1.0, np.nan], "binary", 1),
        ([0, 2, 1, 2], "multiclass", 3),
        ([0.0, 2.0, 1.0, np.nan], "multiclass", 3),
        ([0.5, 2.0, 1.0], "forecast", 1),
        ([3.0, 7.0], "forecast", 1),
    ],
)
def test_task_of_a_label_column_follows_from_its_values(values: list, task: str, outputs: int) -> None:
    """0 and 1 are binary, other class numbers classes, everything else a forecast."""
    target = label_target(np.asarray(values), column="y", horizon=2)
    assert (target.task, target.outputs, target.label_span) == (task, outputs, 2)
    assert target.text == f"column y ({task})"


@pytest.mark.parametrize(
    ("values", "task", "message"),
    [
        ([0, 2], "binary", "column 'y' contains 2: labels of a binary task are 0 or 1"),
        ([1, 2, 4], None, "column 'y' contains the classes 1, 2, 4: number them 0, 1, 2, ... without gaps"),
        ([0, 0], "multiclass", "column 'y' contains only one class; nothing can be learned from it"),
    ],
)
def test_labels_that_do_not_fit_the_task_are_refused(values: list, task: str | None, message: str) -> None:
    """A label column that contradicts its task is an error, not a guess."""
    with pytest.raises(DataError) as caught:
        label_target(np.asarray(values), column="y", horizon=1, task=task)  # type: ignore[arg-type]
    assert str(caught.value) == message
