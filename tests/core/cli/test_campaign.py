"""`scalecore plan` of a campaign: the whole in one table, and what its analyses will train."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from scalecore.cli.main import main
from scalecore.testing.fakes import EXPERIMENT, write_walk

ANALYSIS = """
from scalecore import hookimpl
from scalecore.api.analysis import AnalysisPlan, PlannedTraining
from scalecore.api.components import AnalysisRecord


class Twice:
    def run(self, studies):
        raise AssertionError("a plan runs no analysis")

    def plan(self, studies, *, wanted):
        trainings = [PlannedTraining(study=study.name, configuration="best", seeds=2) for study in studies]
        return AnalysisPlan(trainings=trainings, lines=[f"{len(studies)} studies"])


@hookimpl
def scalecore_analyses():
    return [AnalysisRecord(name="twice", summary="Two runs of each best.", factory=lambda options: Twice())]
"""

Plan = Callable[..., Result]


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    """Runs `scalecore plan` on a campaign of two studies with an analysis; `changes` replace keys."""
    write_walk(tmp_path)
    (tmp_path / "twice.py").write_text(ANALYSIS)
    file = tmp_path / "campaign.yaml"

    def plan(*arguments: str, **changes: object) -> Result:
        content = {
            **EXPERIMENT,
            "output": "out",
            "plugins": ["./twice.py"],
            "analyses": ["twice"],
            "sweep": {"seed": [1, 2]},
            **changes,
        }
        file.write_text(yaml.safe_dump({key: value for key, value in content.items() if value is not None}))
        return CliRunner().invoke(main, ["plan", str(file), "--no-plugins", *arguments], catch_exceptions=False)

    return plan


def test_the_plan_of_a_campaign_is_one_table_and_the_whole(plan: Plan, tmp_path: Path) -> None:
    """A row for each study, then the trainings of searches and analyses; nothing is written."""
    done = plan()
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    start = lines.index(f"campaign walk: 2 of 2 studies in {tmp_path / 'out'}")
    assert [line.split()[0] for line in lines[start + 2 : start + 5]] == ["study", "seed-1", "seed-2"]
    whole = lines.index("The whole:")
    assert [line.split() for line in lines[whole + 1 : whole + 5]] == [
        ["trainings", "left", "time", "left"],
        ["2", "searches", "8", "8", "unknown"],
        ["twice", "4", "4", "unknown"],
        ["all", "12", "12", "unknown"],
    ]
    assert lines[-2:] == ["twice:", "  2 studies"]
    assert not (tmp_path / "out").exists()


def test_the_plan_of_one_study_of_a_campaign_is_complete(plan: Plan) -> None:
    """`--only` shows its data, baselines and shapes, and no analyses, since such a run has none."""
    lines = plan("--only", "seed-2").stdout.splitlines()
    assert "plan of walk-seed-2: 4 trials" in lines
    assert "  baselines to beat, validation loss with 95 % interval:" in lines
    assert lines[-1].startswith("  disk: ")


def test_the_json_of_a_campaign_has_all_plans_and_the_whole(plan: Plan) -> None:
    """Programs read the plan of each study, the sums, and what each analysis adds."""
    found = json.loads(plan("--json").stdout)
    assert set(found) == {"campaign", "studies", "whole", "refused"}
    assert [one["values"] for one in found["whole"]["searches"]] == [{"seed": 1}, {"seed": 2}]
    assert found["studies"]["seed-1"]["data"]["rows"] == 900
    assert found["whole"]["analyses"][0] == {
        "analysis": "twice",
        "trainings": 4,
        "left": 4,
        "shared": 0,
        "at_most": False,
        "seconds_left": None,
        "lines": ["2 studies"],
        "data": {},
        "problem": None,
    }


def test_a_single_study_with_an_analysis_shows_the_same_lines(plan: Plan) -> None:
    """Without analyses, its text has no whole; its JSON always has it."""
    lines = plan(sweep=None).stdout.splitlines()
    assert lines[-2:] == ["twice:", "  1 studies"]
    assert "The whole:" not in plan(sweep=None, analyses=None).stdout
    assert json.loads(plan("--json", sweep=None, analyses=None).stdout)["whole"]["analyses"] == []


def test_a_refused_study_is_left_out_of_the_whole(plan: Plan) -> None:
    """The exit code is that of a run, the reason goes to stderr, and the others are planned."""
    done = plan(sweep={"dataset.target.horizon": [700, 1]})
    assert done.exit_code == 4
    assert done.stderr.startswith("horizon-700 cannot run, the other studies can: ")
    assert [line.split() for line in done.stdout.splitlines() if line.startswith("  1 search ")] == [
        ["1", "search", "4", "4", "unknown"]
    ]
