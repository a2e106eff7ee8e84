"""The test kit for authors of plugins; `pip install scalecore[testing]`. The core imports nothing of it.

One contract class for each kind of component. Inherit from it in a test module, give the one fixture that it asks for,
and pytest runs its tests on your component::

    from scalecore.testing import LoggerContract

    class TestMyLogger(LoggerContract):
        @pytest.fixture
        def make(self):
            return lambda context: MyLogger(MyOptions(), context)

`scalecore_torch.testing` has the contract of models in PyTorch.

`scalecore.testing.fakes` has small stand-ins for everything that a component may be given, and
`pytest_plugins = ["scalecore.testing.fixtures"]` brings the fixtures `registry`, `experiment` and `run_cli`.
"""

from __future__ import annotations

import pytest

# Before the contracts are imported, so that a failed assertion shows its values.
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
