"""The market dataset satisfies the contracts of the test kit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from scalecore.api.dataset import DatasetContext
from scalecore.config.standalone import standalone_options
from scalecore.plugins.registry import load_registry
from scalecore.testing import DatasetContract, PluginContract

DATA = Path(__file__).parents[2] / "examples" / "data"


class TestPackage(PluginContract):
    distribution = "scalecore-market"


class TestMarket(DatasetContract):
    @pytest.fixture
    def make(self) -> Any:
        record = load_registry().get("dataset", "market").record
        options = standalone_options(
            record.options, ["symbol=SPY", f"file={DATA / 'spy_daily.parquet'}", "tier=a25", "context=20"]
        )
        return lambda: record.factory(options, DatasetContext(seed=0))
