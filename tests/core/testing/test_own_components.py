"""The core's components satisfy the contracts of the test kit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from scalecore.api.dataset import DatasetContext
from scalecore.api.readings import Reading
from scalecore.builtin.options import ConsoleOptions, CsvOptions, FilesOptions
from scalecore.builtin.random_search import RandomSearch
from scalecore.execution.local.executor import LocalExecutor
from scalecore.execution.local.options import LocalOptions
from scalecore.plugins.registry import load_registry
from scalecore.testing import (
    DatasetContract,
    ExecutorContract,
    LoggerContract,
    MonitorContract,
    PluginContract,
    SearchStrategyContract,
)
from scalecore.testing.fakes import RecordingLogger, ScriptedMonitor, TinyDataset, write_walk
from scalecore_torch.linear import LinearFamily
from scalecore_torch.testing import ModelContract


class TestCore(PluginContract):
    distribution = "scalecore"


class TestLinear(ModelContract):
    @pytest.fixture
    def family(self) -> LinearFamily:
        return LinearFamily()


class TestRandomSearch(SearchStrategyContract):
    @pytest.fixture
    def make(self) -> Any:
        return RandomSearch


class TestParquet(DatasetContract):
    @pytest.fixture
    def make(self, tmp_path: Path) -> Any:
        from scalecore.config.standalone import standalone_options

        record = load_registry(no_plugins=True).get("dataset", "parquet").record
        path = write_walk(tmp_path)
        options = standalone_options(
            record.options, [f"path={path}", "features=[Close, Volume]", "target={kind: direction}", "context=8"]
        )
        return lambda: record.factory(options, DatasetContext(seed=0))


class TestTinyDataset(DatasetContract):
    @pytest.fixture
    def make(self) -> Any:
        return TinyDataset


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("console", ConsoleOptions()),
        ("files", FilesOptions()),
        ("csv", CsvOptions()),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
    scope="class",
)
class TestLoggers(LoggerContract):
    @pytest.fixture
    def make(self, name: str, options: Any) -> Any:
        record = load_registry(no_plugins=True).get("logger", name).record
        return lambda context: record.factory(options, context)


class TestRecordingLogger(LoggerContract):
    @pytest.fixture
    def make(self) -> Any:
        return lambda context: RecordingLogger()


class TestScriptedMonitor(MonitorContract):
    @pytest.fixture
    def monitor(self) -> ScriptedMonitor:
        from scalecore.api.readings import Verdict

        reading = Reading(quantity="fan", source="script", unit="rpm", value=None, reason="scripted")
        return ScriptedMonitor(script=[([reading], Verdict(action="go_on"))])


class TestLocalExecutor(ExecutorContract):
    @pytest.fixture
    def make(self) -> Any:
        return lambda context: LocalExecutor(LocalOptions(), worker=context.worker)
