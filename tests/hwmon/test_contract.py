"""The monitors satisfy the contracts of the test kit on this machine, whatever sensors it has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from scalecore.api.monitor import MonitorContext
from scalecore.plugins.registry import load_registry
from scalecore.testing import MonitorContract, PluginContract


class TestPackage(PluginContract):
    distribution = "scalecore-hwmon"


@pytest.mark.parametrize("name", ["memory", "thermal", "disk", "gpu"])
class TestMonitors(MonitorContract):
    @pytest.fixture
    def monitor(self, name: str, tmp_path: Path) -> Any:
        record = load_registry().get("monitor", name).record
        return record.factory(record.options(), MonitorContext(folder=tmp_path))
