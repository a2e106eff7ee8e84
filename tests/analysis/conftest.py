"""Synthetic studies: experiment and plan of a real study, a grid of two dimensions, synthetic records."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Iterator, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attrs import evolve
from threadpoolctl import threadpool_limits

from scalecore.api.files import plain
from scalecore.api.space import Architecture
from scalecore.api.trials import Origin, StudyView, TrialRecord, TrialState
from scalecore.store.record_json import record_from
from scalecore.testing.fakes import plan_walk
from scalecore.testing.plans import make_plan

WIDTHS = (8, 16, 32)
DEPTHS = (1, 2, 4)
SPREAD = 0.002
COLLAPSED = {"guard": "G09", "kind": "collapsed", "text": "predicts a constant"}


def shape(width: int, depth: int, *, scale: int = 1) -> Architecture:
    """An architecture of a family with two dimensions."""
    values = {"width": width, "depth": depth}
    return Architecture(values=values, num_parameters=scale * width * width * depth, flops=7 * width * depth)


def figures_of(page: str) -> list[dict[str, Any]]:
    """The specifications of the figures on a page, in order."""
    return [json.loads(text) for text in re.findall(r'<script type="application/json">(.*?)</script>', page)]


def addresses_of(page: str) -> list[str]:
    """All URLs that the page names: in its tags, and in its figures apart from their schema."""
    found: list[str] = []

    class Tags(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            found.extend(str(value) for name, value in attrs if name in ("src", "href", "srcset", "data", "action"))

    Tags().feed(page)
    for figure in figures_of(page):
        assert re.fullmatch(r"https://vega\.github\.io/schema/vega-lite/v[\d.]+\.json", figure.pop("$schema"))
        found += re.findall(r'"(?:url|href)"', json.dumps(figure))
    return found


def trial(number: int, value: float | None = None, **changes: Any) -> TrialRecord:
    """A completed trial, or one of another `state`; without a value unless one is given."""
    state = TrialState(changes.pop("state", "completed"))
    line = {"epoch": 2, "val_loss": value, "train_loss": 0.5, "accuracy": 0.7, "auc": 0.6}
    best = line if state is TrialState.COMPLETED else None
    content: dict[str, Any] = {
        "number": number,
        "hash": f"hash-{number}",
        "seed": 100 + number,
        "state": state,
        "reason": None if best else f"{state} for a test",
        "value": value,
        "origin": Origin(kind="sampled"),
        "architecture": shape(WIDTHS[number % 3], DEPTHS[number // 3 % 3]),
        "hyperparameters": {"learning_rate": 0.001 * (number + 1), "epochs": (10, 20)[number % 2]},
        "duration": 60.0,
        "best": best,
        "last": line if best else None,
        "learning_curve": [line] if best else [],
        **changes,
    }
    return record_from(plain(content))


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Matrices have few rows, so threads would only slow the tests down."""
    with threadpool_limits(1):
        yield


@pytest.fixture(scope="session")
def planned(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], dict[str, Any]]:
    """Experiment and plan of a real study, as plain JSON types."""
    data = ("dataset.features=[Close]", "dataset.target.horizon=2")
    search = {"use": "random", "trials": 9}
    plan = plan_walk(tmp_path_factory.mktemp("study"), *data, rows=1600, search=search)
    return dict(plan.experiment), plan.report().plain()


@pytest.fixture
def study(planned: tuple[dict[str, Any], dict[str, Any]], tmp_path: Path) -> Callable[..., StudyView]:
    """Create a study of these records: `study([trial(0, 0.7)], name="other", budget="2M")`."""
    experiment, plan = planned

    def make(
        records: Sequence[TrialRecord],
        *,
        name: str = "walk",
        budget: str | None = "1k",
        data: dict[str, Any] | None = None,
        space: dict[str, Any] | None = None,
        **changes: Any,
    ) -> StudyView:
        space = space or {"learning_rate": {"log_uniform": [1e-4, 0.1]}, "epochs": {"choice": [10, 20]}}
        grid = [shape(width, depth) for width in WIDTHS for depth in DEPTHS]
        architectures = {
            "feasible": len(grid),
            "budget": 1000,
            "range": [0, 5000],
            "gaps": [[0.6, 1.1]],
            "dimensions": {"width": list(WIDTHS), "depth": list(DEPTHS)},
            "architectures": [{**a.values, "num_parameters": a.num_parameters, "flops": a.flops} for a in grid],
        }
        content: dict[str, Any] = {
            "name": name,
            "folder": tmp_path / name,
            "experiment": {
                **copy.deepcopy(experiment),
                "name": name,
                "search": {**experiment["search"], "budget": budget, "space": space},
            },
            "plan": make_plan(
                **{**plan, "space": space, "architectures": architectures, "data": {**plan["data"], **(data or {})}}
            ),
            "total": 9,
            "trials": tuple(records),
            **changes,
        }
        return StudyView(**content)

    return make


@pytest.fixture
def campaign(study: Callable[..., StudyView]) -> Callable[..., list[StudyView]]:
    """Studies of budgets a factor of ten apart, with a search of 4 trials each and fresh seeds of its best trial."""

    def make(
        means: Sequence[float], *, seeds: int = 5, margin: float | None = 0.005, **changes: Any
    ) -> list[StudyView]:
        studies = []
        generator = np.random.default_rng(7)
        for index, mean in enumerate(means):
            size = {"scale": 10**index}
            inner = shape(16, 2, **size)
            searched = [
                # The chosen one lies inside of all ranges, and was lucky.
                trial(0, mean - 0.01, architecture=inner, hyperparameters={"learning_rate": 3e-3, "epochs": 10}),
                trial(1, mean + 0.02, architecture=shape(8, 1, **size)),
                trial(2, mean + 0.03, architecture=shape(32, 4, **size)),
                trial(3, state="failed"),
            ]
            confirmed = [
                trial(
                    seed,
                    float(mean + SPREAD * generator.standard_normal()),
                    hash=f"fresh-{seed}",
                    architecture=inner,
                    hyperparameters={"learning_rate": 3e-3, "epochs": 10},
                    origin=Origin(kind="replicate"),
                )
                for seed in range(seeds)
            ]
            content = {"confirmations": tuple(confirmed), **changes}
            made = study(searched, name=f"size-{index}", budget=f"{10**index}k", **content)
            made.experiment["guards"] |= {"margin": margin}
            studies.append(with_plan(made, architectures={"range": [400 * 10**index, 600 * 10**index]}))
        return studies

    return make


def with_plan(view: StudyView, **changes: Any) -> StudyView:
    """The study with a changed plan: the arguments replace entries of its JSON form, also in nested mappings."""
    content = view.plan.plain()
    for name, value in changes.items():
        content[name] = {**content[name], **value}
    return evolve(view, plan=make_plan(**content))
