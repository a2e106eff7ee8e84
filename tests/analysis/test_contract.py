"""Every analysis of the package passes the contract tests of the test kit."""

from __future__ import annotations

from typing import Any

import pytest

from scalecore.plugins.registry import load_registry
from scalecore.testing import AnalysisContract, PluginContract

ANALYSES = [one.name for one in load_registry().components("analysis") if one.provider == "scalecore-analysis"]
DEMANDING = ["calibration", "compare", "confirm", "cross-budget", "power", "scaling-law"]
"""Analyses that need predictions, studies that differ, a stored study to train, or three budgets with several seeds."""


class TestPackage(PluginContract):
    distribution = "scalecore-analysis"


class Contract(AnalysisContract):
    studies = 2

    @pytest.fixture
    def analysis(self, name: str) -> Any:
        record = load_registry().get("analysis", name).record
        return record.factory(record.options())


@pytest.mark.parametrize("name", [name for name in ANALYSES if name not in DEMANDING])
class TestAnalyses(Contract):
    pass


@pytest.mark.parametrize("name", DEMANDING)
class TestDemandingAnalyses(Contract):
    gives_a_result = False
