"""Studies with real data, plan and experiment, and made-up records."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from scalecore.api.files import plain
from scalecore.api.plan_report import PlanReport
from scalecore.api.space import Architecture, LogUniform
from scalecore.api.trials import Origin, StudyView, TrialRecord, TrialState
from scalecore.store.record_json import record_from
from scalecore.testing.fakes import plan_walk

COLLAPSED = {"guard": "G09", "kind": "collapsed", "text": "predicts a constant"}
MATRIX = {"tn": 50, "fp": 10, "fn": 20, "tp": 40}


def shape(width: int, depth: int = 2) -> Architecture:
    """An architecture of a family with two dimensions."""
    return Architecture(values={"width": width, "depth": depth}, num_parameters=width * width * depth, flops=7)


def trial(number: int, value: float | None = None, **changes: Any) -> TrialRecord:
    """A completed trial, or one of another `state`, with or without a value."""
    state = TrialState(changes.pop("state", "completed"))
    line = {"epoch": 3, "val_loss": value, "train_loss": 0.5, "accuracy": 0.75, "auc": None, "precision": 0.8}
    best = {**line, "recall": 2 / 3, "f1": 0.7, "confusion_matrix": MATRIX} if state is TrialState.COMPLETED else None
    content: dict[str, Any] = {
        "number": number,
        "hash": f"hash-{number}",
        "seed": 100 + number,
        "state": state,
        "reason": None,
        "value": value,
        "origin": Origin(kind="sampled"),
        "architecture": shape(8 if number % 2 else 16),
        "hyperparameters": {"learning_rate": 0.001 * (number + 1), "epochs": 50},
        "started": "2026-01-01T00:00:00.000Z",
        "ended": f"2026-01-01T00:0{number % 10}:00.000Z",
        "duration": 60.0,
        "best": best,
        "last": line if best else None,
        "learning_curve": [line] if best else [],
        **changes,
    }
    return record_from(plain(content))


@pytest.fixture(scope="session")
def planned(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], PlanReport]:
    """Experiment and plan of a real study, as plain JSON types."""
    data = ("dataset.features=[Close]", "dataset.target.horizon=2")
    search = {"use": "random", "trials": 4}
    plan = plan_walk(tmp_path_factory.mktemp("study"), *data, rows=1600, search=search)
    return dict(plan.experiment), plan.report()


@pytest.fixture
def study(planned: tuple[dict[str, Any], PlanReport], tmp_path: Path) -> Callable[..., StudyView]:
    """Make a study of these records: `study([trial(0, 0.7)], name="other", budget="2M")`."""
    experiment, plan = planned

    def make(
        records: Sequence[TrialRecord],
        *,
        name: str = "walk",
        budget: str | None = "2M",
        direction: str = "minimize",
        space: Sequence[str] = ("learning_rate", "epochs"),
        dimensions: Sequence[str] = ("width", "depth"),
        **changes: Any,
    ) -> StudyView:
        varied = {parameter: {"log_uniform": [1e-4, 0.1]} for parameter in space}
        content: dict[str, Any] = {
            "name": name,
            "folder": tmp_path / name,
            "experiment": {
                **experiment,
                "name": name,
                "search": {**experiment["search"], "budget": budget, "space": varied},
                "objective": {**experiment["objective"], "direction": direction},
            },
            "plan": evolve(
                plan,
                space={parameter: LogUniform(low=1e-4, high=0.1) for parameter in space},
                architectures=evolve(
                    plan.architectures, dimensions=dict.fromkeys(dimensions, (8, 16)), architectures=()
                ),
            ),
            "total": max(4, len(records)),
            "trials": tuple(records),
            **changes,
        }
        return StudyView(**content)

    return make
