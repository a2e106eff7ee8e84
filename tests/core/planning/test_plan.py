"""The values of a plan, and errors of components during planning."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from attrs import evolve

from scalecore.api.components import NoOptions, Record
from scalecore.api.errors import DataError
from scalecore.config.resolve import load_resolved
from scalecore.config.resolved import ResolvedComponent
from scalecore.planning.build_plan import build_plan
from scalecore.plugins.registry import load_registry
from scalecore.testing.fakes import EXPERIMENT, planned_walk, write_walk


class NoPanel:
    def panel(self) -> None:
        return None


class Leaves:
    def panel(self) -> None:
        raise SystemExit("bye")


@pytest.mark.parametrize(
    ("made", "reason"),
    [(NoPanel(), "TypeError: panel() returned NoneType, not a Panel"), (Leaves(), "SystemExit: bye")],
)
def test_a_dataset_that_returns_no_panel_is_named(tmp_path: Path, made: Any, reason: str) -> None:
    """Returning None and ending the process are reported as bugs of the dataset."""
    write_walk(tmp_path)
    file = tmp_path / "experiment.yaml"
    file.write_text(yaml.safe_dump(EXPERIMENT))
    loaded, resolved = load_resolved(file, registry=load_registry(no_plugins=True))
    record = Record(name="mine", summary="One.", factory=lambda options, context: made)
    dataset = ResolvedComponent(record=record, options=NoOptions(), provider="acme", version="1.0")
    with pytest.raises(DataError) as caught:
        build_plan(loaded, evolve(resolved, dataset=dataset), folder=tmp_path / "study")
    assert str(caught.value) == f"dataset 'mine' (acme 1.0) failed: {reason}"


def test_a_plan_consists_of_values_only(tmp_path: Path) -> None:
    """A copy of the plan equals the plan; threads and processes, which cannot be copied, are in the runtime."""
    plan, runtime = planned_walk(tmp_path)
    assert copy.deepcopy(plan).report() == plan.report()
    with pytest.raises(TypeError, match="cannot pickle"):
        copy.deepcopy(runtime)
