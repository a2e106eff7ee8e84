"""The architectural strategy satisfies the contracts of the test kit with every inner sampler."""

from __future__ import annotations

from typing import Any

import pytest

from scalecore.plugins.registry import load_registry
from scalecore.testing import PluginContract, SearchStrategyContract


class TestPackage(PluginContract):
    distribution = "scalecore-optuna"


@pytest.mark.parametrize("inner", ["tpe", "random", "qmc"])
class TestArchitectural(SearchStrategyContract):
    @pytest.fixture
    def make(self, inner: str) -> Any:
        record = load_registry().get("search", "architectural").record
        options = record.options(inner=inner, startup_trials=4, pruner="median")
        return lambda context: record.factory(options, context)
