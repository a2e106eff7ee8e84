"""The memory of the smallest and the largest shape: one figure each, with its range and source."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from attrs import evolve

from scalecore.api.plan_report import MemoryRange, MemoryReport, MemoryShapes
from scalecore.planning.memory_figures import memory_figures, memory_lines
from scalecore.planning.plan import Plan
from scalecore.planning.plan_text import plan_lines
from scalecore.planning.preview import preview
from scalecore.store.event_lines import event_of
from scalecore.store.events import SmokeStep
from scalecore.store.state import StudyState
from scalecore.store.study_device import built_for_cuda, torch_build
from scalecore.testing.fakes import plan_walk

MB = 1_000_000
PLANNED = MemoryReport(
    micro_batch=64,
    smallest=400 * MB,
    largest=900 * MB,
    floor_of_largest=450 * MB,
    source="closed form",
    shapes=MemoryShapes(smallest="d=8", largest="d=16"),
    range=MemoryRange(smallest=(350 * MB, 450 * MB), largest=(600 * MB, 1000 * MB)),
)


def smoke(**largest: Any) -> SmokeStep:
    traced = {"of_a_trial": {"memory": 650 * MB, "source": "traced"}}
    results = {"largest": {"architecture": "d=16", "predicted_memory": 1, **traced, **largest}}
    return event_of(SmokeStep, versions={}, results=results)


def test_the_closed_form_is_one_figure_with_its_range() -> None:
    """Until a run has traced a step, the plan's figures count."""
    assert memory_lines(memory_figures(PLANNED, None)) == [
        "smallest shape by memory, d=8, at micro-batch 64: 400 MB (closed form: 350 MB to 450 MB)",
        "largest shape by memory, d=16, at micro-batch 64: 900 MB (closed form: 600 MB to 1.0 GB)",
    ]


def test_the_trace_of_a_run_replaces_the_closed_form() -> None:
    """Only for the same shape and micro-batch, and only if the trace succeeded."""
    line = memory_lines(memory_figures(PLANNED, smoke()))[1]
    assert line == ("largest shape by memory, d=16, at micro-batch 64: 650 MB (traced by the run; closed form: 900 MB)")
    for other in ({"architecture": "d=32"}, {"of_a_trial": {"memory": MB, "source": "closed form"}}):
        assert memory_figures(PLANNED, smoke(**other)) == memory_figures(PLANNED, None)


def test_a_grid_of_one_shape_has_one_line() -> None:
    """A shape that is both the smallest and the largest is listed once."""
    one = evolve(PLANNED, shapes=MemoryShapes(smallest="d=8", largest="d=8"), largest=400 * MB)
    assert memory_lines(memory_figures(one, None)) == [
        "the only shape, d=8, at micro-batch 64: 400 MB (closed form: 350 MB to 450 MB)"
    ]


def test_plans_of_earlier_versions_have_no_figures() -> None:
    """They do not name the shapes."""
    assert memory_figures(evolve(PLANNED, shapes=None, range=None), None) == {}


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return plan_walk(tmp_path)


def test_the_plan_shows_one_figure_of_each_shape(plan: Plan) -> None:
    """The figures of the summary equal those of the table, for the shapes with the least and the most memory."""
    content = preview(plan, StudyState())
    by_id = {one.id: one.memory or 0 for one in content.plan.architectures.architectures}
    for label, extreme in (("smallest", min(by_id.values())), ("largest", max(by_id.values()))):
        figure = content.figures[label]
        assert figure.bytes == by_id[figure.shape] == extreme
        assert (figure.low or 0) < figure.bytes < (figure.high or 0)
    found = [line.strip() for line in plan_lines(content) if "(closed form: " in line]
    assert found == memory_lines(content.figures)


def test_a_study_with_measured_trials_lists_nothing_unknown(plan: Plan) -> None:
    """The plan of a new study names what only a run can measure."""
    new = preview(plan, StudyState())
    assert plan_lines(new)[-1].startswith("Unknown until the first trial: the time per trial and the memory")
    measured = evolve(new, forecast=evolve(new.forecast, trials=1))
    assert not [line for line in plan_lines(measured) if "Unknown" in line]


def test_the_largest_shape_is_that_of_the_most_memory(plan: Plan) -> None:
    """A deep narrow shape keeps more activations than a wide one with more parameters."""
    shapes = plan.grid.architectures
    sizes = {one.id: 1000 - position for position, one in enumerate(shapes)}
    extremes = evolve(plan, rough=sizes).extremes()
    assert (extremes["smallest"], extremes["largest"]) == (shapes[-1], shapes[0])


def test_the_build_of_torch_is_found_without_importing_it() -> None:
    """A plan does not import torch, and a process needs more memory with a CUDA build."""
    import torch

    assert built_for_cuda() == (torch.version.cuda is not None)
    assert torch_build() == ("cpu" if torch.version.cuda is None else f"cu{torch.version.cuda.replace('.', '')}")


@pytest.mark.parametrize(
    ("text", "build"),
    [
        ("__version__ = '2.13.0'\ncuda: Optional[str] = '12.8'\nhip: Optional[str] = None\n", "cu128"),
        ("cuda = None\nhip: Optional[str] = '6.4'\n", "rocm6.4"),
        ("__version__ = '2.13.0'\ncuda: Optional[str] = None\nhip: Optional[str] = None\n", "cpu"),
        (None, None),
    ],
)
def test_the_build_of_torch_does_not_depend_on_the_name_of_its_release(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None, build: str | None
) -> None:
    """The releases of PyPI have no `+cu128` or `+cpu` in their version."""
    if text is not None:
        (tmp_path / "version.py").write_text(text)
    spec = SimpleNamespace(origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr("scalecore.store.study_device.find_spec", lambda _: spec)
    assert torch_build.__wrapped__() == build
