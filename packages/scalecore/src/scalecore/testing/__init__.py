"""The test kit for plugin authors: `pip install scalecore[testing]`.

It has one contract class for each kind of component. Inherit from it in a test module and define the fixture that it
requires. pytest then runs its tests on your component::

    from scalecore.testing import LoggerContract

    class TestMyLogger(LoggerContract):
        @pytest.fixture
        def make(self):
            return lambda context: MyLogger(MyOptions(), context)

`scalecore_torch.testing` has the contract of PyTorch models, `scalecore.testing.fakes` small substitutes for everything
that scalecore passes to a component. `pytest_plugins = ["scalecore.testing.fixtures"]` provides the fixtures
`registry`, `experiment` and `run_cli`.
"""

from __future__ import annotations

import pytest

# Must precede the imports of the contracts, so that failed assertions show values.
_REWRITTEN = ("dataset", "strategy", "logger", "monitor", "executor", "analysis", "plugin", "trainer", "attempts")
pytest.register_assert_rewrite(*(f"scalecore.testing.{name}" for name in _REWRITTEN))

from scalecore.testing.analysis import AnalysisContract
from scalecore.testing.dataset import DatasetContract
from scalecore.testing.executor import ExecutorContract
from scalecore.testing.logger import LoggerContract
from scalecore.testing.monitor import MonitorContract
from scalecore.testing.plugin import PluginContract, PluginFileContract
from scalecore.testing.strategy import SearchStrategyContract
from scalecore.testing.trainer import TrainerContract

__all__ = [
    "AnalysisContract",
    "DatasetContract",
    "ExecutorContract",
    "LoggerContract",
    "MonitorContract",
    "PluginContract",
    "PluginFileContract",
    "SearchStrategyContract",
    "TrainerContract",
]
