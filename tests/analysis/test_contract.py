"""Every analysis of the package keeps the contracts of the test kit."""

from __future__ import annotations

from typing import Any

import pytest

from scalecore.plugins.registry import load_registry
from scalecore.testing import AnalysisContract, PluginContract

ANALYSES = [one.name for one in load_registry().components("analysis") if one.provider == "scalecore-analysis"]


class TestPackage(PluginContract):
    distribution = "scalecore-analysis"


@pytest.mark.parametrize("name", ANALYSES)
class TestAnalyses(AnalysisContract):
    studies = 2

    @pytest.fixture
    def analysis(self, name: str) -> Any:
        record = load_registry().get("analysis", name).record
        return record.factory(record.options())
