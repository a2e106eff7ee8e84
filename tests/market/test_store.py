"""The store: versions, checksums, manifests, and the results of verify."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from scalecore.api.errors import DataError, ExperimentError, RefusedError
from scalecore_market.build import Built, build
from scalecore_market.dataset import MarketDataset
from scalecore_market.features import definition
from scalecore_market.indicators.registry import builtin_registry
from scalecore_market.options import MarketOptions, ReadRules
from scalecore_market.sources import from_frame
from scalecore_market.store import Incoming, Store
from scalecore_market.table import PriceTable
from scalecore_market.validate import to_table

Prices = Callable[..., Any]
ROWS = 500


def incoming(frame: Any, symbol: str = "SPY") -> Incoming:
    origin = f"{symbol}.csv"
    table = to_table(from_frame(frame, origin=origin, symbol=symbol), rules=ReadRules())
    return Incoming(symbol=symbol, table=table, origin=origin)


@pytest.fixture
def store(prices: Prices, tmp_path: Path) -> Store:
    """SPY and VIX, version 1 each."""
    store = Store(tmp_path / "store")
    store.ingest([incoming(prices(ROWS)), incoming(prices(ROWS, seed=1, base=20.0), "VIX")])
    return store


def make(store: Store, **options: Any) -> Built:
    return build(store, "SPY", registry=builtin_registry(), **{"tier": "a25", **options})


def downloaded_later(frame: Any) -> Any:
    """A download after a dividend: two more days, and all adjusted closes slightly lower."""
    later = pd.concat([frame, frame[-2:].set_axis(pd.bdate_range(frame.index[-1], periods=3)[1:])]).rename_axis("Date")
    return later.assign(**{"Adj Close": later["Adj Close"] * 0.99})


def test_g52_the_manifests_name_everything(store: Store) -> None:
    """Name, path, checksum, time and version of raw prices; tier and source checksums of a processed set."""
    built = make(store, vix=True).entry
    raw = json.loads((store.folder / "raw.json").read_text())
    processed = json.loads((store.folder / "processed.json").read_text())
    spy = raw["entries"][0]
    assert (raw["format"], raw["kind"], processed["kind"]) == (1, "raw", "processed")
    assert {key: spy[key] for key in ("name", "version", "path", "rows", "first", "last", "origin")} == {
        "name": "SPY.OHLCV.daily",
        "version": 1,
        "path": "raw/SPY.OHLCV.daily.v1.parquet",
        "rows": ROWS,
        "first": "2001-01-02",
        "last": "2002-12-02",
        "origin": "SPY.csv",
    }
    assert spy["columns"] == ["Open", "High", "Low", "Close", "Adj Close", "Volume"]
    assert spy["time"].endswith("Z")
    entry = processed["entries"][0]
    assert entry["name"] == built.name == "SPY.dataset.a25.vix"
    assert (entry["tier"], entry["version"], len(entry["columns"])) == ("a25.vix", 1, 33)
    assert entry["sources"] == {one["name"]: {"version": 1, "checksum": one["checksum"]} for one in raw["entries"]}
    assert set(entry["software"]) == {"scalecore-market", "TA-Lib", "numpy", "pandas"}
    assert entry["checksum"] == PriceTable.read(store.folder / entry["path"]).checksum
    assert entry["first_trusted"] == str(PriceTable.read(store.folder / entry["path"]).dates[446])
    assert make(store, tier="a25").entry.name == "SPY.dataset.a25"


def test_g52_a_changed_source_is_refused_until_it_is_registered(store: Store, prices: Prices) -> None:
    """Adjusted prices that changed in a new download are refused, with the differences."""
    before = (store.folder / "raw.json").read_bytes()
    frame = downloaded_later(prices(ROWS))
    old = prices(ROWS)["Adj Close"].iloc[0]
    with pytest.raises(RefusedError) as caught:
        store.ingest([incoming(frame)])
    assert caught.value.guard == "G52"
    assert str(caught.value) == (
        "SPY.csv: the prices differ from SPY.OHLCV.daily version 1: 2 rows added, first on 2002-12-03; Adj Close "
        f"changed in 500 rows, first on 2001-01-02 from {old:g} to {0.99 * old:g}. If they are right, register "
        "them as version 2: scalecore data register SPY=FILE [G52]"
    )
    assert (store.folder / "raw.json").read_bytes() == before
    assert len(list((store.folder / "raw").iterdir())) == 2
    assert store.register(incoming(frame)).version == 2
    assert store.raw("SPY").version == 2
    assert store.raw("SPY", version=1).rows == ROWS
    assert store.ingest([incoming(frame)])[0][1] == "unchanged"


def test_g52_one_changed_source_keeps_the_others_out_as_well(store: Store, prices: Prices) -> None:
    """Prices are added all or none."""
    with pytest.raises(RefusedError):
        store.ingest([incoming(prices(ROWS, seed=3), "QQQ"), incoming(downloaded_later(prices(ROWS)))])
    assert [entry.name for entry in store.entries("raw")] == ["SPY.OHLCV.daily", "VIX.OHLCV.daily"]
    assert store.verify().problems == ()


def test_prices_that_are_registered_already_are_not_registered_again(store: Store, prices: Prices) -> None:
    """A version is never a copy of the previous one."""
    with pytest.raises(RefusedError) as caught:
        store.register(incoming(prices(ROWS)))
    assert str(caught.value) == "SPY.csv: the prices equal those of SPY.OHLCV.daily version 1"


def test_g52_a_file_that_was_changed_in_the_store_is_refused(store: Store, prices: Prices) -> None:
    """Neither a build nor a study reads a changed table."""
    entry = store.raw("SPY")
    incoming(downloaded_later(prices(ROWS))).table.write(store.folder / entry.path)
    expected = (
        f"{store.folder}/raw/SPY.OHLCV.daily.v1.parquet: the content changed since SPY.OHLCV.daily version 1 was "
        f"registered on {entry.time}. Restore the file, or register new prices as a new version with `scalecore data "
        "register` [G52]"
    )
    with pytest.raises(RefusedError) as caught:
        make(store)
    assert str(caught.value) == expected
    with pytest.raises(RefusedError) as caught:
        MarketDataset(MarketOptions(symbol="SPY", store=store.folder)).panel()
    assert str(caught.value) == expected
    assert store.ingest([incoming(prices(ROWS))])[0][1] == "restored"
    assert store.verify().problems == ()


def test_g52_verify_finds_missing_changed_and_orphaned_files(store: Store, prices: Prices) -> None:
    """Each problem is one line with the file; a sound store has none."""
    make(store)
    make(store, vix=True)
    assert store.verify().problems == ()
    assert store.verify().tables == 4
    (store.folder / "raw/VIX.OHLCV.daily.v1.parquet").unlink()
    incoming(downloaded_later(prices(ROWS))).table.write(store.folder / "raw/SPY.OHLCV.daily.v1.parquet")
    torn = store.folder / "processed/SPY.dataset.a25.v1.parquet"
    torn.write_bytes(torn.read_bytes()[:100])
    shutil.copy(store.folder / "processed/SPY.dataset.a25.vix.v1.parquet", store.folder / "processed/mine.parquet")
    problems = store.verify().problems
    assert problems[0] == (
        "raw/SPY.OHLCV.daily.v1.parquet: changed: its content differs from SPY.OHLCV.daily version 1"
    )
    assert problems[1] == "raw/VIX.OHLCV.daily.v1.parquet: missing"
    assert problems[2].startswith(
        "processed/SPY.dataset.a25.v1.parquet: changed: SPY.dataset.a25.v1.parquet cannot be read"
    )
    assert problems[3:] == ("processed/mine.parquet: orphaned: not in a manifest",)


def test_g52_a_processed_set_of_sources_that_are_not_registered_is_orphaned(store: Store) -> None:
    """A set with unknown prices is worthless."""
    make(store)
    manifest = json.loads((store.folder / "raw.json").read_text())
    manifest["entries"] = manifest["entries"][1:]
    (store.folder / "raw.json").write_text(json.dumps(manifest))
    assert store.verify().problems == (
        "raw/SPY.OHLCV.daily.v1.parquet: orphaned: not in a manifest",
        "processed/SPY.dataset.a25.v1.parquet: orphaned: it was built from another SPY.OHLCV.daily version 1",
    )


def test_a_set_of_older_prices_is_reported_and_rebuilt(store: Store, prices: Prices) -> None:
    """New prices create the set's next version; the older one is kept for its studies."""
    make(store)
    store.register(incoming(downloaded_later(prices(ROWS))))
    report = store.verify()
    assert report.problems == ()
    assert report.notes == (
        "processed/SPY.dataset.a25.v1.parquet: built from SPY.OHLCV.daily version 1, the newest is 2",
    )
    again = make(store)
    assert (again.fresh, again.entry.version, again.entry.rows) == (True, 2, ROWS + 2)


def test_building_twice_changes_nothing_and_a_lost_set_is_restored(store: Store) -> None:
    """Equal prices and definitions are the same set."""
    first = make(store)
    manifest = (store.folder / "processed.json").read_bytes()
    assert make(store) == Built(entry=first.entry, fresh=False)
    (store.folder / first.entry.path).unlink()
    assert make(store) == Built(entry=first.entry, fresh=True)
    assert (store.folder / "processed.json").read_bytes() == manifest
    assert store.verify().problems == ()


@pytest.mark.parametrize(
    ("tier", "digest"),
    [
        ("a25", "26d8b431c86df10dfc09cd35781c5f0945bc17ecc6183934a41018485cc76fb8"),
        ("a100", "03372ca7860a09db2d8fd8e35f2b61c9bf97b6c20dc3acddd7ccdeafe7038447"),
    ],
)
def test_a_set_that_0_1_built_is_still_found(tier: str, digest: str) -> None:
    """Its definition changes with the formulas, not with each release."""
    registry = builtin_registry()
    found = definition(registry.select(tier), registry=registry, vix_missing="refuse")
    assert found == f"sha256:{digest}"


def test_a_built_set_yields_the_same_panel(store: Store) -> None:
    """Built or computed, the features are equal to the last bit, also with an end."""
    options = MarketOptions(symbol="SPY", store=store.folder, tier="a25", vix=True, end="2002-11-15")
    computed = MarketDataset(options).panel()
    make(store, vix=True)
    loaded = MarketDataset(options).panel()
    assert computed.details["built"] is None
    assert loaded.details["built"] == "SPY.dataset.a25.vix version 1"
    assert loaded.details["sources"]["VIX.OHLCV.daily"]["version"] == 1
    assert str(loaded.times[-1]) == "2002-11-15"
    np.testing.assert_array_equal(loaded.times, computed.times)
    np.testing.assert_array_equal(loaded.values, computed.values)
    np.testing.assert_array_equal(loaded.labels, computed.labels)


def test_a_study_can_stay_with_an_older_version(store: Store, prices: Prices) -> None:
    """`version` selects the prices; the default is the newest."""
    store.register(incoming(downloaded_later(prices(ROWS))))
    newest = MarketDataset(MarketOptions(symbol="SPY", store=store.folder)).panel()
    older = MarketDataset(MarketOptions(symbol="SPY", store=store.folder, version=1)).panel()
    assert (str(newest.times[-1]), str(older.times[-1])) == ("2002-12-04", "2002-12-02")
    assert older.details["sources"]["SPY.OHLCV.daily"]["version"] == 1
    with pytest.raises(DataError) as caught:
        MarketDataset(MarketOptions(symbol="SPY", store=store.folder, version=3)).panel()
    assert str(caught.value) == f"{store.folder}: SPY.OHLCV.daily has no version 3; it has 1, 2"


def test_an_unknown_symbol_is_reported_with_the_known_ones(store: Store, tmp_path: Path) -> None:
    """A misspelt symbol, and a folder without a store."""
    with pytest.raises(DataError) as caught:
        store.raw("QQQ")
    assert str(caught.value) == (
        f"{store.folder}: QQQ.OHLCV.daily is not in the store, which has SPY, VIX; add it: "
        f"scalecore data ingest QQQ=FILE --store {store.folder}"
    )
    with pytest.raises(DataError) as caught:
        Store(tmp_path / "nothing").raw("SPY")
    assert str(caught.value) == f"{tmp_path / 'nothing'}: there is no such store; `scalecore data ingest` creates one"


def test_a_set_of_several_names_needs_a_name(store: Store) -> None:
    """A list has no default name."""
    with pytest.raises(ExperimentError) as caught:
        make(store, tier=["close", "sma_12"])
    assert str(caught.value) == "a set of several tiers or indicators needs a name: use --name"
    with pytest.raises(ExperimentError) as caught:
        make(store, tier=["close", "sma_12"], name="../mine")
    assert str(caught.value) == "'../mine' is not a name: use letters, digits, `=`, `-`, `_` and single dots"
    assert make(store, tier=["close", "sma_12"], name="mine").entry.name == "SPY.dataset.mine"


def test_too_few_prices_for_a_tier_leave_nothing_behind(prices: Prices, tmp_path: Path) -> None:
    """A failed build writes neither table nor manifest."""
    store = Store(tmp_path / "store")
    store.ingest([incoming(prices(100))])
    with pytest.raises(DataError) as caught:
        make(store)
    assert str(caught.value) == ("SPY.OHLCV.daily: 100 rows are too few: the features need 446 rows of warm-up")
    assert sorted(path.name for path in store.folder.iterdir()) == [".lock", "raw", "raw.json"]


def test_a_write_that_fails_leaves_nothing_half_written(store: Store, prices: Prices) -> None:
    """If the manifest cannot be replaced, the new table is removed."""
    before = sorted(os.listdir(store.folder / "raw"))
    (store.folder / "raw.json").unlink()
    (store.folder / "raw.json").mkdir()
    with pytest.raises(OSError, match=r"raw\.json"):
        store.ingest([incoming(prices(ROWS, seed=3), "QQQ")])
    assert sorted(os.listdir(store.folder / "raw")) == before


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "{",
            "the manifest is damaged (Expecting property name enclosed in double quotes: line 1 column 2 (char 1)); ",
        ),
        ('{"format": 2, "entries": []}', "the manifest has format 2, this version of scalecore-market reads 1"),
        ('{"format": 1}', "the manifest is damaged ('entries'); "),
        (
            '{"format": 1, "entries": [{"name": "a", "version": 1, "path": "../a", "checksum": "", "time": "", "rows": '
            '1, "first": "", "last": "", "columns": []}]}',
            "the manifest is damaged (the path '../a' is outside the store); ",
        ),
    ],
)
def test_a_damaged_manifest_is_reported(text: str, message: str, store: Store) -> None:
    """A partially readable manifest is not used."""
    (store.folder / "raw.json").write_text(text)
    remedy = "restore it from a backup" if message.endswith("; ") else ""
    with pytest.raises(DataError) as caught:
        store.entries("raw")
    assert str(caught.value) == f"{store.folder / 'raw.json'}: {message}{remedy}"


def test_a_symbol_cannot_lead_out_of_the_store(store: Store) -> None:
    """Symbols become parts of file names."""
    with pytest.raises(ExperimentError) as caught:
        store.raw("../SPY")
    assert str(caught.value) == "'../SPY' is not a symbol: use letters, digits, `=`, `-`, `_` and single dots"
    assert store.raw("^VIX").name == "VIX.OHLCV.daily"
