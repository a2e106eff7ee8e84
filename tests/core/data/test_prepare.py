"""Descriptions and the folder of prepared data."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scalecore.api.data_report import DataReport, TargetScale
from scalecore.api.dataset_options import Split, TargetOptions
from scalecore.api.errors import DataError, RefusedError
from scalecore.api.space import DataShape
from scalecore.api.targets import labels, target_of
from scalecore.config.kept import structured
from scalecore.data.folder import read_description
from scalecore.data.prepare import describe, prepare


def stored(folder: Path, name: str) -> np.ndarray:
    return np.load(folder / f"{name}.npy", allow_pickle=False)


def test_prepare_writes_normalised_values_labels_times_and_windows(make_panel: Any, tmp_path: Path) -> None:
    """The arrays have the documented types and contain the panel, normalised by the rows of training windows."""
    panel = make_panel()
    description = prepare(panel, tmp_path / "data")
    folder = tmp_path / "data"
    assert sorted(path.name for path in folder.iterdir()) == [
        "data.json", "labels.npy", "test.npy", "times.npy", "train.npy", "val.npy", "values.npy",
    ]  # fmt: skip
    train, values = stored(folder, "train"), stored(folder, "values")
    seen = panel.values[: train[-1] + 1]
    assert values.dtype == np.float32
    assert values.flags.c_contiguous
    np.testing.assert_array_equal(values, ((panel.values - seen.mean(axis=0)) / seen.std(axis=0)).astype(np.float32))
    np.testing.assert_array_equal(stored(folder, "labels"), panel.labels.astype(np.float32))
    np.testing.assert_array_equal(stored(folder, "times"), panel.times)
    assert {stored(folder, part).dtype.name for part in ("train", "val", "test")} == {"int64"}
    assert description.normalise.center["Close"] == seen.mean(axis=0)[0]
    assert read_description(folder) == description
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_memory_order_does_not_change_stored_bytes(make_panel: Any, tmp_path: Path) -> None:
    """A column-wise table, as returned by parquet readers, has the same fingerprint and bytes."""
    values = make_panel().values
    prepare(make_panel(values=values), tmp_path / "rows")
    prepare(make_panel(values=np.asfortranarray(values)), tmp_path / "columns")
    assert (tmp_path / "rows" / "values.npy").read_bytes() == (tmp_path / "columns" / "values.npy").read_bytes()


def test_describe_returns_the_same_and_writes_nothing(make_panel: Any, tmp_path: Path) -> None:
    """The description in the plan equals the one that a run stores."""
    before = describe(make_panel())
    assert before == prepare(make_panel(), tmp_path / "data")


def test_robust_normalisation_uses_median_and_quartiles(make_panel: Any) -> None:
    """One outlier in training changes neither center nor scale."""
    values = make_panel().values
    plain = describe(make_panel(values=values, normalise="robust")).normalise
    values[100, 1] = 1e6
    spoiled = describe(make_panel(values=values, normalise="robust")).normalise
    assert spoiled.scale["noise"] == pytest.approx(plain.scale["noise"], rel=0.01)
    low, middle, high = np.quantile(values[:623, 1], (0.25, 0.5, 0.75))
    assert (spoiled.center["noise"], spoiled.scale["noise"]) == (middle, high - low)


def test_robust_normalisation_of_a_mostly_constant_feature_falls_back_to_the_deviation(make_panel: Any) -> None:
    """An interquartile range of 0 causes no division by zero."""
    values = make_panel().values
    values[:, 1] = np.arange(900) % 10 == 0
    scale = describe(make_panel(values=values, normalise="robust")).normalise.scale["noise"]
    assert scale == pytest.approx(values[:623, 1].std())


@pytest.mark.parametrize("kind", ["standard", "robust"])
def test_a_feature_whose_deviation_rounds_to_zero_counts_as_constant(make_panel: Any, kind: str) -> None:
    """Its squares underflow, which causes no division by zero."""
    values = make_panel().values
    values[:, 1] = 1e-170 * (np.arange(900) % 10 == 0)
    found = describe(make_panel(values=values, normalise=kind))
    assert found.normalise.scale["noise"] == 1.0
    assert [flag["text"] for flag in found.flags] == ["features are constant in training: noise"]


def test_normalisation_is_fit_on_training_rows_only(make_panel: Any) -> None:
    """Rows after training change neither center nor scale."""
    values = make_panel().values
    before = describe(make_panel(values=values)).normalise
    values[640:] *= 100
    assert describe(make_panel(values=values)).normalise == before


def test_g01_base_rate_and_entropy_floor_are_recorded(with_labels: Any) -> None:
    """Base rates per part and year, the loss of the constant prior, and that of the best constant."""
    values = (np.arange(900) % 4 == 0).astype(int)
    values[765:] = np.arange(135) % 2
    description = describe(with_labels(values))
    train, test = description.parts["train"], description.parts["test"]
    share = train.positives / train.windows
    assert description.prior == train.base_rate == share == pytest.approx(0.25, abs=0.01)
    entropy = -(share * math.log(share) + (1 - share) * math.log(1 - share))
    assert train.entropy == train.prior_loss == pytest.approx(entropy)
    half = test.base_rate
    assert half == pytest.approx(0.5, abs=0.01)
    assert test.prior_loss == pytest.approx(-(half * math.log(share) + (1 - half) * math.log(1 - share)))
    assert test.entropy == pytest.approx(math.log(2), abs=1e-3)
    years = {row.year: row for row in description.base_rates_per_year}
    assert {year: row.rows for year, row in years.items()} == {2001: 365, 2002: 365, 2003: 170}
    assert years[2001].base_rate == pytest.approx(92 / 365)
    assert sum((row.train or 0) + (row.val or 0) + (row.test or 0) for row in years.values()) == sum(
        part.windows for part in description.parts.values()
    )


def test_forecast_prior_is_the_training_mean(make_panel: Any) -> None:
    """Its `entropy` is a mean squared error, and it has no classes."""
    close = make_panel().values[:, 0]
    target = target_of(TargetOptions(kind="forward_return"))
    given = labels(target, close=close, price=close)
    description = describe(make_panel(labels=given, target=target))
    val = description.parts["val"]
    windows = given[630 : 630 + val.windows]
    assert description.prior == pytest.approx(given[5 : 5 + description.parts["train"].windows].mean())
    assert val.prior_loss == pytest.approx(((windows - description.prior) ** 2).mean())
    assert val.entropy == pytest.approx(windows.var())
    assert (val.positives, val.classes, val.effective_rarest) == (None, None, None)


def test_multiclass_prior_has_a_share_for_each_class(with_labels: Any) -> None:
    """The shape has one logit for each class."""
    description = describe(with_labels(np.arange(900) % 3))
    assert description.prior == pytest.approx([1 / 3] * 3, abs=0.01)
    assert description.shape == DataShape(context=6, features=2, outputs=3)
    assert description.parts["val"].entropy == pytest.approx(math.log(3), abs=0.01)


def test_date_ranges_of_inputs_and_labels_are_stored(make_panel: Any) -> None:
    """Inputs start context - 1 rows before the first sample, labels end horizon rows after the last one."""
    train = describe(make_panel(horizon=3), min_validation_samples=30).parts["train"]
    assert train.inputs[0] == "2001-01-01"
    assert train.samples[0] == "2001-01-06"
    assert train.labels[0] == "2001-01-07"
    last = np.datetime64(train.samples[1])
    assert train.inputs[1] == train.samples[1]
    assert train.labels[1] == str(last + np.timedelta64(3, "D"))


def test_description_is_strict_json_both_ways(make_panel: Any) -> None:
    """No NaN, no numpy type, nothing lost."""
    description = describe(make_panel(details={"vintage": float("nan"), "rows": np.int64(3), "path": Path("a/b")}))
    assert description.details == {"vintage": None, "rows": 3, "path": "a/b"}
    text = json.dumps(description.plain(), allow_nan=False)
    assert structured(DataReport, json.loads(text), place="data") == description


def test_fingerprint_depends_only_on_content(make_panel: Any) -> None:
    """Name, details, memory order and the sign of zero do not matter; everything that decides a result does."""
    panel = make_panel()
    same = describe(panel).fingerprint
    fortran = np.asfortranarray(panel.values)
    assert describe(make_panel(name="b", details={"path": "elsewhere"}, values=fortran)).fingerprint == same
    coarse = panel.times.astype("datetime64[s]")
    assert describe(make_panel(times=coarse)).fingerprint == same
    zero, minus = panel.values.copy(), panel.values.copy()
    zero[3, 1], minus[3, 1] = 0.0, -0.0
    assert describe(make_panel(values=zero)).fingerprint == describe(make_panel(values=minus)).fingerprint
    changed = panel.values.copy()
    changed[0, 0] = np.nextafter(changed[0, 0], 0)
    flipped = panel.labels.copy()
    flipped[0] = 1 - flipped[0]
    others = [
        make_panel(values=changed),
        make_panel(labels=flipped),
        make_panel(times=panel.times + np.timedelta64(1, "h")),
        make_panel(features=("Close", "static")),
        make_panel(context=7),
        make_panel(split=Split(embargo=3)),
        make_panel(normalise="robust"),
        make_panel(target=target_of(TargetOptions(kind="direction"), columns={"close": "Last"})),
    ]
    assert len({same, *(describe(other).fingerprint for other in others)}) == len(others) + 1


def test_fingerprint_depends_on_the_context_even_where_the_dates_do_not(make_panel: Any) -> None:
    """At a fixed purge, a rolling fold far from the start has the same window ends for contexts 6 and 7."""
    split = Split(kind="walk-forward", folds=2, rolling=True, purge=10)
    six, seven = (describe(make_panel(split=split, context=context)) for context in (6, 7))
    assert six.split.hash == seven.split.hash
    assert six.fingerprint != seven.fingerprint


def test_g53_feature_sets_over_the_same_dates_have_one_split_hash(make_panel: Any) -> None:
    """A comparison detects that two tiers have other dates because one of them lost its warm-up rows."""
    split = Split(val_from="2002-08-01", test_from="2003-02-01")
    panel = make_panel(split=split)
    other = make_panel(split=split, features=("x", "y"), values=panel.values[:, ::-1] * 2)
    assert describe(other).split.hash == describe(panel).split.hash
    cut = {"times": panel.times[50:], "values": panel.values[50:], "labels": panel.labels[50:]}
    shorter = describe(make_panel(split=split, **cut))
    assert shorter.split.hash != describe(panel).split.hash
    assert {part: shorter.parts[part].hash == describe(panel).parts[part].hash for part in shorter.parts} == {
        "train": False,
        "val": True,
        "test": True,
    }


def test_preparing_again_reuses_the_folder(make_panel: Any, tmp_path: Path) -> None:
    """The same data is verified, and no file is written."""
    folder = tmp_path / "data"
    prepare(make_panel(), folder)
    before = {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in folder.iterdir()}
    prepare(make_panel(), folder)
    assert {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in folder.iterdir()} == before


def test_a_changed_description_of_the_same_data_is_stored(make_panel: Any, tmp_path: Path) -> None:
    """A moved source file changes the description but not the arrays."""
    folder = tmp_path / "data"
    prepare(make_panel(), folder)
    inode = (folder / "values.npy").stat().st_ino
    prepare(make_panel(details={"path": "elsewhere"}), folder)
    assert read_description(folder).details == {"path": "elsewhere"}
    assert (folder / "values.npy").stat().st_ino == inode


@pytest.mark.parametrize("damage", ["flipped", "cut", "gone", "torn json"])
def test_a_damaged_folder_is_rewritten(make_panel: Any, tmp_path: Path, damage: str) -> None:
    """Bit rot, a truncated or missing file, an incomplete data.json: the data is prepared again from its source."""
    folder = tmp_path / "data"
    prepare(make_panel(), folder)
    path = folder / "values.npy"
    whole = path.read_bytes()
    if damage == "flipped":
        path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    elif damage == "cut":
        path.write_bytes(whole[:-4])
    elif damage == "gone":
        path.unlink()
    else:
        os.truncate(folder / "data.json", 100)
    prepare(make_panel(), folder)
    assert path.read_bytes() == whole
    assert read_description(folder) == describe(make_panel())


def test_g52_a_folder_with_other_data_is_refused_and_unchanged(make_panel: Any, tmp_path: Path) -> None:
    """A resumed study never trains on changed data."""
    folder = tmp_path / "data"
    old = prepare(make_panel(), folder)
    content = (folder / "values.npy").read_bytes()
    changed = make_panel(values=make_panel().values * 1.001)
    new = describe(changed)
    with pytest.raises(RefusedError) as caught:
        prepare(changed, folder)
    assert str(caught.value) == (
        f"the data in {folder} (fingerprint {old.fingerprint[:12]}) is not that of the experiment "
        f"({new.fingerprint[:12]}): the source, the target, the split or the features changed. Use another output "
        "folder, or restore the old data [G52]"
    )
    assert (folder / "values.npy").read_bytes() == content


def test_a_foreign_folder_is_refused(make_panel: Any, tmp_path: Path) -> None:
    """Files that are not prepared data are never overwritten."""
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(DataError) as caught:
        prepare(make_panel(), tmp_path)
    assert str(caught.value) == (
        f"{tmp_path} is not empty and has no prepared data; choose another folder, or empty it"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_remains_of_a_killed_process_are_removed(make_panel: Any, tmp_path: Path) -> None:
    """A partial folder does not stop the next run and is removed."""
    leftover = tmp_path / "data.partial"
    leftover.mkdir()
    (leftover / "values.npy").write_bytes(b"half")
    prepare(make_panel(), tmp_path / "data")
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_refused_data_writes_nothing(make_panel: Any, tmp_path: Path) -> None:
    """Checks come before the first file."""
    with pytest.raises(RefusedError):
        prepare(make_panel(), tmp_path / "data", min_validation_samples=10_000)
    assert list(tmp_path.iterdir()) == []


def test_read_description_of_an_empty_folder_has_a_remedy(tmp_path: Path) -> None:
    """An attempt without its data ends with a clear message."""
    with pytest.raises(DataError) as caught:
        read_description(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path} has no prepared data: its data.json is missing or damaged; run the study again"
    )


def test_g57_the_scale_of_a_forecast_is_that_of_training_windows(with_labels: Any, tmp_path: Path) -> None:
    """Mean and standard deviation of the training labels; validation and test do not matter."""
    values = 40_000 + np.sin(np.arange(900.0))
    values[700:] += 500
    description = prepare(with_labels(values, task="forecast"), tmp_path / "data")
    train = np.load(tmp_path / "data" / "train.npy")
    assert description.target_scale == TargetScale(mean=values[train].mean(), std=values[train].std())
    labels = np.load(tmp_path / "data" / "labels.npy")
    assert labels.dtype == np.float32
    assert labels[train].mean() == pytest.approx(0, abs=1e-6)
    assert labels[train].std() == pytest.approx(1)
    assert 400 < labels[-1] < 1000
    assert describe(with_labels(np.arange(900) % 2)).target_scale is None


def test_g57_seeds_of_a_forecast_do_not_depend_on_the_unit(with_labels: Any) -> None:
    """Other labels have other seeds; the same labels in another unit have equal seeds but another fingerprint."""
    values = np.sin(np.arange(900.0))
    units = (values, 1000 * values, values + 40_000, 1e-6 * values - 3e-5)
    found = [describe(with_labels(unit, task="forecast")) for unit in units]
    assert len({one.seed_data for one in found}) == 1
    assert len({one.fingerprint for one in found}) == len(units)
    other = describe(with_labels(np.cos(np.arange(900.0)), task="forecast"))
    assert other.seed_data not in (None, found[0].seed_data)
    assert describe(with_labels(values, task="forecast"), raw_target=True).seed_data is None
    assert describe(with_labels(np.arange(900) % 2)).seed_data is None


def test_g57_labels_that_cannot_be_standardised_are_refused(with_labels: Any) -> None:
    """Almost constant training labels with others of another magnitude, which would become infinite."""
    values = np.sin(np.arange(900.0)) * 1e-30
    values[-5:] = 1e20
    with pytest.raises(DataError) as caught:
        describe(with_labels(values, task="forecast"))
    train = values[5 : 5 + describe(with_labels(np.sin(np.arange(900.0)), task="forecast")).parts["train"].windows]
    mean, std = train.mean(), train.std()
    assert str(caught.value) == (
        f"walk.parquet: the labels cannot be standardised (mean {mean:g} and standard deviation {std:g} over training "
        "windows): some would be too large for single precision. Use another unit for the target, or remove wrong "
        "rows"
    )


def test_g57_a_raw_target_keeps_the_fingerprint_of_version_0_1(with_labels: Any) -> None:
    """A standardised target has another fingerprint."""
    values = np.sin(np.arange(900.0))
    scaled, raw = (describe(with_labels(values, task="forecast"), raw_target=raw) for raw in (False, True))
    assert raw.target_scale is None
    assert scaled.fingerprint != raw.fingerprint
    old = {name: value for name, value in raw.plain().items() if name != "target_scale"}
    assert structured(DataReport, old, place="data") == raw
    classes = with_labels(np.arange(900) % 2)
    assert describe(classes).fingerprint == describe(classes, raw_target=True).fingerprint
