"""Panels of a few hundred rows of a random walk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scalecore.api.dataset_options import Split, TargetOptions
from scalecore.api.panel import Panel
from scalecore.api.targets import label_target, labels, target_of

MakePanel = Callable[..., Panel]


@pytest.fixture
def make_panel() -> MakePanel:
    """Builds a panel from a seeded random walk; keywords replace its fields, `rows` and `horizon` shape it."""

    def make(*, rows: int = 900, horizon: int = 1, **fields: Any) -> Panel:
        generator = np.random.default_rng(3)
        close = 100 * np.exp(np.cumsum(generator.normal(0, 0.01, rows)))
        target = target_of(TargetOptions(kind="direction", horizon=horizon))
        return Panel(
            **{
                "name": "walk.parquet",
                "times": np.datetime64("2001-01-01", "ns") + np.arange(rows) * np.timedelta64(1, "D"),
                "values": np.column_stack([close, generator.normal(size=rows)]),
                "labels": labels(target, close=close, price=close),
                "features": ("Close", "noise"),
                "target": target,
                "context": 6,
                "split": Split(),
                "normalise": "standard",
                **fields,
            }
        )

    return make


@pytest.fixture
def with_labels(make_panel: MakePanel) -> MakePanel:
    """Builds a panel whose labels are given, as a label column would."""

    def make(values: Any, *, horizon: int = 1, **fields: Any) -> Panel:
        given = np.asarray(values, dtype=np.float64)
        target = label_target(np.asarray(values), column="y", horizon=horizon, task=fields.pop("task", None))
        return make_panel(rows=len(given), labels=given, target=target, **fields)

    return make


@pytest.fixture(scope="session")
def examples() -> Path:
    """The folder of the bundled example data."""
    return Path(__file__).parents[3] / "examples" / "data"
