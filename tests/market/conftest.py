"""Prices for the tests: bundled files, series of the arch package, real files if present, and synthetic ones."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from scalecore_market.bars import Bars
from scalecore_market.features import align_vix
from scalecore_market.options import ReadRules
from scalecore_market.sources import from_frame, read_raw
from scalecore_market.table import PriceTable
from scalecore_market.validate import to_table

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def bundled() -> Path:
    """The folder of examples/data: spy_daily.parquet (1993 to 2021) and vix_daily.parquet."""
    return REPOSITORY / "examples" / "data"


@pytest.fixture(scope="session")
def spy(bundled: Path) -> Bars:
    """The bundled SPY with its VIX."""
    table = to_table(read_raw(bundled / "spy_daily.parquet", symbol="SPY"), rules=ReadRules())
    return _with_vix(table, bundled)


@pytest.fixture(scope="session")
def sp500(bundled: Path) -> Bars:
    """The S&P 500, 1999 to 2018, 5,031 sessions, with the VIX."""
    return _with_vix(_shipped("sp500"), bundled)


@pytest.fixture(scope="session")
def nasdaq(bundled: Path) -> Bars:
    """The Nasdaq composite, 1999 to 2015: up to the first day without a volume."""
    table = _shipped("nasdaq")
    return _with_vix(table.slice(0, int(np.argmin(table.columns["Volume"]))), bundled)


@pytest.fixture(scope="session")
def real() -> Callable[[str], Path]:
    """A real file by its symbol; the test is skipped without it."""

    def find(symbol: str) -> Path:
        path = REPOSITORY.parent / "shared" / "data" / "market" / f"{symbol}.parquet"
        if not path.is_file():
            pytest.skip(f"{symbol}.parquet is not on this machine; its licence forbids shipping it")
        return path

    return find


@pytest.fixture
def prices() -> Callable[..., pd.DataFrame]:
    """Creates `rows` sessions of prices from 2001-01-02 in Yahoo's format."""

    def make(rows: int = 40, *, seed: int = 0, base: float = 100.0) -> pd.DataFrame:
        random = np.random.default_rng(seed)
        close = base * np.exp(np.cumsum(random.normal(0.0, 0.01, rows)))
        start = close * np.exp(random.normal(0.0, 0.004, rows))
        return pd.DataFrame(
            {
                "Open": start,
                "High": np.maximum(start, close) * 1.003,
                "Low": np.minimum(start, close) * 0.997,
                "Close": close,
                "Adj Close": close * 0.8,
                "Volume": random.integers(1_000_000, 9_000_000, rows),
            },
            index=pd.bdate_range("2001-01-02", periods=rows, name="Date"),
        )

    return make


def _shipped(name: str) -> PriceTable:
    """A series of the arch package, read without importing it."""
    spec = importlib.util.find_spec("arch")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("the arch package, which ships the series, is not installed")
    file = Path(next(iter(spec.submodule_search_locations))) / "data" / name / f"{name}.csv.gz"
    frame = pd.read_csv(file)
    frame["Date"] = pd.to_datetime(frame["Date"], format="%m/%d/%Y")
    return to_table(from_frame(frame, origin=file.name, symbol=name), rules=ReadRules())


def _with_vix(table: PriceTable, bundled: Path) -> Bars:
    vix = to_table(read_raw(bundled / "vix_daily.parquet", symbol="VIX"), rules=ReadRules())
    return table.bars(vix=align_vix(table.dates, vix, missing="refuse", names=("the symbol", "the VIX")))
