"""RevIN removes the level of a window: allowed for classes, refused for a forecast."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from attrs import evolve
from click.testing import CliRunner, Result

from scalecore.api.errors import ExperimentError
from scalecore.api.plan_report import PlanReport
from scalecore.cli.main import main
from scalecore.config.kept import checked
from scalecore.config.resolve import load_resolved
from scalecore.planning.build_plan import build_plan
from scalecore.planning.conventions import begun_plan
from scalecore.planning.plan import Plan
from scalecore.plugins.registry import load_registry
from scalecore.store.journal import Journal

MESSAGE = (
    "model.revin: removes the level of each window, and model 'patchtst' does not restore it in its outputs: the "
    "same window at another level would get the same forecast. Omit revin, or predict classes\n"
)


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments), catch_exceptions=False)


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An experiment on a wave around 40,000."""
    monkeypatch.chdir(tmp_path)
    days = np.datetime64("2000-01-03") + np.arange(900)
    wave = 40_000 + 100 * np.sin(np.arange(901) / 9)
    rows = [
        f"{day},{now!r},{then!r}" for day, now, then in zip(days, wave[:-1].tolist(), wave[1:].tolist(), strict=True)
    ]
    Path("wave.csv").write_text("\n".join(["date,x,y", *rows]) + "\n")
    lines = [
        "name: wave",
        "dataset:",
        "  use: parquet",
        "  path: wave.csv",
        "  features: [x]",
        "  target: {kind: label, column: y, task: forecast}",
        "  context: 12",
        "model:",
        "  use: patchtst",
        "  revin: true",
        "  d_model: [8]",
        "  n_layers: [2]",
        "  n_heads: [2]",
        "search: {use: random, trials: 1}",
        "loggers: []",
    ]
    Path("wave.yaml").write_text("\n".join(lines) + "\n")
    return Path("wave.yaml")


def planned(*overrides: str) -> Plan:
    """The plan of the file, with memory from closed forms, so that no process is started."""
    loaded, resolved = load_resolved(Path("wave.yaml"), overrides=overrides, registry=load_registry())
    return build_plan(loaded, resolved, folder=Path("studies/wave"))[0]


@pytest.mark.parametrize("command", ["check", "plan"])
def test_g57_revin_is_refused_for_a_forecast(file: Path, command: str) -> None:
    """The message has its position in the file, and nothing is written."""
    found = invoke(command, "wave.yaml")
    assert (found.exit_code, found.stderr) == (2, f"wave.yaml:10:10: {MESSAGE}")
    assert not Path("studies").exists()


def test_g57_without_revin_the_same_forecast_is_accepted(file: Path) -> None:
    """`check` and `plan` accept it, and the plan shows the scale."""
    assert invoke("check", "wave.yaml", "model.revin=false").exit_code == 0
    scale = planned("model.revin=false").data.target_scale
    assert scale is not None
    assert scale.mean == pytest.approx(40_000, abs=20)


def test_g57_check_defers_what_depends_on_the_data_to_the_plan(file: Path) -> None:
    """A label column without a task may contain classes; the plan reads it, unless a forecast's loss determines the
    task."""
    assert invoke("check", "wave.yaml", "dataset.target.task=null").exit_code == 0
    assert invoke("check", "wave.yaml", "dataset.target.task=null", "training.loss={kind: mae}").exit_code == 2
    with pytest.raises(ExperimentError) as caught:
        planned("dataset.target.task=null")
    assert f"{caught.value}\n".replace(" [G57]", "") == f"wave.yaml:10:10: {MESSAGE}"


def test_g57_an_older_study_is_not_refused(file: Path) -> None:
    """A forecast study of version 0.1, without a scale in its plan, resumes in the target's unit, with RevIN."""
    plan = planned("model.revin=false")
    folder = Path("studies/wave")
    assert (begun := begun_plan(folder)) is None or not begun.data.of_version_0_1
    content = plan.begun()
    old = plan.report().plain()
    del old["data"]["target_scale"]
    folder.mkdir(parents=True)
    journal = Journal(folder / "journal.jsonl")
    journal.append(evolve(content, plan=checked(PlanReport, old)))
    # The first event decides, not later plans.
    journal.append(content)
    journal.close()
    assert (begun := begun_plan(folder)) is not None
    assert begun.data.of_version_0_1
    assert invoke("check", "wave.yaml").exit_code == 0
    now = planned()
    assert now.data.target_scale is None
    assert now.data.fingerprint != plan.data.fingerprint


def test_g57_classes_may_ignore_the_level(file: Path) -> None:
    """RevIN does not change for a target of classes."""
    target = "dataset.target={kind: direction, columns: {close: x}}"
    assert invoke("check", "wave.yaml", target).exit_code == 0
    assert planned(target, "guards.min_validation_positives=5").data.target_scale is None
