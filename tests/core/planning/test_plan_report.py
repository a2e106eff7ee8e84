"""The stored plan: written as it was read, read from older and newer versions, refused if damaged."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from scalecore.api.plan_report import PlanReport
from scalecore.cli.main import main
from scalecore.config.kept import structured
from scalecore.store.layout import StudyFolder
from scalecore.testing.fakes import make_study
from scalecore.testing.plans import make_plan
from scalecore.views.read_study import read_study

OLD = Path(__file__).parents[2] / "old" / "v0_1" / "studies"


def read(content: object) -> PlanReport:
    return structured(PlanReport, content, place="plan")


def first_line(journal: Path) -> dict[str, Any]:
    event: dict[str, Any] = json.loads(journal.read_text().splitlines()[0])
    return event


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The first line of the journal of a study that this version planned."""
    view = make_study(tmp_path_factory.mktemp("planned"))
    event = {"seq": 0, "time": "2026-01-01T00:00:00.000Z", "event": "study"}
    content: dict[str, Any] = {**event, "experiment": dict(view.experiment), "plan": view.plan.plain()}
    return content


def test_a_plan_is_written_as_it_was_made(whole: dict[str, Any]) -> None:
    """Every key in its place, also None; only the split has `chosen` only if something was chosen."""
    again = read(json.loads(json.dumps(whole["plan"])))
    assert json.dumps(again.plain()) == json.dumps(whole["plan"])
    assert "chosen" not in whole["plan"]["data"]["split"]
    chosen = make_plan(data={"split": {"chosen": {"blocks": 3}}})
    assert chosen.data.split.chosen == {"blocks": 3}
    assert chosen.plain()["data"]["split"]["chosen"] == {"blocks": 3}


@pytest.mark.parametrize("name", ["classification", "confirmed", "forecast"])
def test_a_plan_of_version_0_1_is_read_and_written_unchanged(name: str) -> None:
    """Fields that 0.1 did not have are None and are not written."""
    content = first_line(OLD / name / "journal.jsonl")["plan"]
    plan = read(content)
    assert plan.data.of_version_0_1
    assert (plan.products, plan.compile_rule, plan.memory.shapes, plan.memory.range) == (None,) * 4
    assert (plan.data.steps, plan.data.target_scale, plan.data.seed_data) == (None,) * 3
    assert json.dumps(plan.plain()) == json.dumps(content)


def test_keys_of_a_later_version_are_skipped(whole: dict[str, Any]) -> None:
    """In the plan and in every part of it."""
    content = json.loads(json.dumps(whole["plan"]))
    parts = [content, content["data"], content["data"]["target"], content["data"]["split"], content["memory"]]
    parts += [content["data"]["split"]["parts"]["val"], content["data"]["baselines"][0], content["architectures"]]
    for part in parts:
        part["invented"] = {"by": "0.3"}
    assert read(content) == read(whole["plan"])
    assert read(content).plain() == whole["plan"]


def test_the_best_baseline_has_the_smallest_loss() -> None:
    """A baseline without a loss does not count; of equal ones the first does."""
    none = {"name": "volatility", "loss": None, "reason": "no price"}
    two = [{"name": "prior", "loss": 0.6}, {"name": "last_values", "loss": 0.6}]
    best = make_plan(data={"baselines": [none, *two]}).data.best_baseline
    assert best is not None
    assert best.name == "prior"
    assert make_plan(data={"baselines": [none]}).data.best_baseline is None


# --- damage ---------------------------------------------------------------------------------------------------------


def put(*path: str | int, value: Any) -> Callable[[dict[str, Any]], None]:
    def edit(plan: dict[str, Any]) -> None:
        place: Any = plan
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value

    return edit


def drop(*path: str | int) -> Callable[[dict[str, Any]], None]:
    def edit(plan: dict[str, Any]) -> None:
        place: Any = plan
        for key in path[:-1]:
            place = place[key]
        del place[path[-1]]

    return edit


VAL = ("data", "split", "parts", "val")
GRID = ("architectures", "architectures", 0)
EDITS: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "no data": (drop("data"), "plan.data: required, but missing"),
    "data null": (put("data", value=None), "plan.data: expected a mapping, got nothing"),
    "data a list": (put("data", value=[]), "plan.data: expected a mapping, got a list"),
    "no name": (drop("name"), "plan.name: required, but missing"),
    "name a number": (put("name", value=7), "plan.name: expected a string, got 7"),
    "name half a character": (put("name", value="\ud800"), ": the journal is damaged in this line"),
    "no features": (drop("data", "features"), "plan.data.features: required, but missing"),
    "features text": (put("data", "features", value="a"), "plan.data.features: expected a list, got string 'a'"),
    "feature null": (put("data", "features", 0, value=None), "plan.data.features.0: expected a string, got nothing"),
    "context zero": (put("data", "context", value=0), "plan.data.context: must be at least 1, got 0"),
    "context text": (put("data", "context", value="4"), "plan.data.context: expected an integer"),
    "context huge": (put("data", "context", value=10**30), "plan.data.context: expected an integer"),
    "context true": (put("data", "context", value=True), "plan.data.context: expected an integer"),
    "no target": (drop("data", "target"), "plan.data.target: required, but missing"),
    "no hash": (drop("data", "target", "hash"), "plan.data.target.hash: required, but missing"),
    "horizon": (put("data", "target", "horizon", value=-3), "plan.data.target.horizon: must be at least 0, got -3"),
    "no split": (drop("data", "split"), "plan.data.split: required, but missing"),
    "no part": (drop("data", "split", "parts", "val"), "plan.data.split.parts: lacks val"),
    "part null": (put(*VAL, value=None), "plan.data.split.parts.val: expected a mapping, got nothing"),
    "no windows": (drop(*VAL, "windows"), "plan.data.split.parts.val.windows: required, but missing"),
    "windows zero": (put(*VAL, "windows", value=0), "plan.data.split.parts.val.windows: must be at least 1, got 0"),
    "samples": (put(*VAL, "samples", value=["x"]), "plan.data.split.parts.val.samples: expected a list of 2, got one"),
    "rate infinite": (put(*VAL, "base_rate", value=float("inf")), ": the journal is damaged in this line"),
    "baselines null": (put("data", "baselines", value=None), "plan.data.baselines: expected a list, got nothing"),
    "baseline text": (put("data", "baselines", 0, value="x"), "plan.data.baselines.0: expected a mapping, got string"),
    "loss text": (put("data", "baselines", 0, "loss", value="0.6"), "plan.data.baselines.0.loss: expected a"),
    "flag": (put("data", "flags", value=[{"text": 1}]), "plan.data.flags.0.text: expected a string, got 1"),
    "no architectures": (drop("architectures"), "plan.architectures: required, but missing"),
    "range": (
        put("architectures", "range", value=[1]),
        "plan.architectures.range: expected a list of 2",
    ),
    "shape text": (put(*GRID, value="x"), "plan.architectures.architectures.0: expected a mapping, got string 'x'"),
    "shape size": (put(*GRID, "num_parameters", value=-1), "plan.architectures.architectures.0.num_parameters: must"),
    "shape lacks": (put("architectures", "dimensions", value={"w": [1]}), "plan.architectures.architectures: the"),
    "planned": (put("planned", value=[{"origin": 1}]), "plan.planned.0"),
    "space": (put("space", "learning_rate", value={"uniform": [1]}), "plan.space.learning_rate.uniform: expected two"),
    "memory": (put("memory", "smallest", value="400 MB"), "plan.memory.smallest: expected an integer"),
    "memory range": (put("memory", "range", "largest", value=[1]), "plan.memory.range.largest: expected a list of 2"),
    "products": (
        put("products", value={"name": "mkl", "why": ""}),
        "plan.products.name: expected one of torch",
    ),
    "finding": (put("findings", 0, "level", value="bad"), "plan.findings.0.level: expected one of ok, warn, refuse"),
    "versions": (put("versions", value=[]), "plan.versions: expected a mapping, got a list"),
}


@pytest.fixture
def study(whole: dict[str, Any], tmp_path: Path) -> Callable[[Callable[[dict[str, Any]], None]], Path]:
    """Make a study's folder whose first line has an edited plan."""

    def make(edit: Callable[[dict[str, Any]], None]) -> Path:
        event = json.loads(json.dumps(whole))
        edit(event["plan"])
        folder = tmp_path / "study"
        folder.mkdir()
        StudyFolder(folder).journal.write_text(json.dumps(event) + "\n")
        StudyFolder(folder).source.write_text(json.dumps(event["experiment"]))
        return folder

    return make


def asked(*arguments: str) -> tuple[int, str]:
    """Exit code and the error of a command; one with a traceback is raised here."""
    result = CliRunner().invoke(main, arguments)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


@pytest.mark.parametrize("name", EDITS)
def test_a_damaged_plan_is_one_clear_error_with_file_line_and_key(study: Any, name: str) -> None:
    """For any manual edit."""
    edit, problem = EDITS[name]
    folder = study(edit)
    code, error = asked("status", str(folder))
    assert code == 6
    assert error.startswith(f"{folder}/journal.jsonl:1: ")
    assert problem in error


@pytest.mark.parametrize(
    "command",
    [
        ["status"],
        ["status", "--json"],
        ["verify"],
        ["run", "{}/experiment.yaml"],
        ["plan", "{}/experiment.yaml"],
    ],
)
def test_every_command_refuses_a_damaged_plan(study: Any, command: list[str]) -> None:
    """With the same message and no traceback."""
    folder = study(drop("data", "split", "hash"))
    words = [word.format(folder) for word in command]
    code, error = asked(*words, *([] if "experiment.yaml" in words[-1] else [str(folder)]))
    assert code in (6, 9)
    assert "journal.jsonl:1: " in error
    assert "data.split.hash: required, but missing" in error


def test_an_undamaged_one_is_read(study: Any) -> None:
    """This shows that the errors above are caused by the edits."""
    folder = study(lambda plan: None)
    assert asked("status", str(folder))[0] == 0
    assert read_study(StudyFolder(folder)).plan.data.features == ("Close", "Volume")
