"""The package and its loggers satisfy the contracts of the test kit without warnings."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scalecore.api.logger import Logger, LoggerContext
from scalecore.plugins.registry import load_registry
from scalecore.testing import LoggerContract, PluginContract


class TestPackage(PluginContract):
    distribution = "scalecore-trackers"


# MLflow's own database code is not up to the latest SQLAlchemy.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", ["tensorboard", "mlflow", "wandb"])
class TestLoggers(LoggerContract):
    @pytest.fixture
    def make(self, name: str, tmp_path: Path, database: Path) -> Iterator[Any]:
        record = load_registry().get("logger", name).record
        (tmp_path / "mlflow.db").write_bytes(database.read_bytes())
        made: list[Logger] = []

        def logger(context: LoggerContext) -> Logger:
            made.append(record.factory(record.options(), context))
            return made[-1]

        yield logger
        assert [remark for one in made for remark in one.take_remarks() if remark[0] == "warning"] == []
