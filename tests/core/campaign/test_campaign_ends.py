"""How a campaign ends: an error ends only its own study, and the worst study determines the exit code."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from scalecore.api.analysis import TrainingContext
from scalecore.api.errors import DataError, ExitCode, PluginError, RefusedError, StudyError
from scalecore.api.trials import StudyEnd
from scalecore.campaign import run as campaigns
from scalecore.campaign.load import Campaign, load_campaign
from scalecore.campaign.run import find_campaign, run_campaign, worst
from scalecore.campaign.table import campaign_rows, table_lines
from scalecore.plugins.registry import load_registry
from scalecore.testing.fakes import EXPERIMENT, write_walk


@pytest.fixture
def campaign(tmp_path: Path) -> Campaign:
    """Three studies that differ in their seed."""
    write_walk(tmp_path)
    file = tmp_path / "experiment.yaml"
    output = {"output": str(tmp_path / "out"), "sweep": {"seed": [1, 2, 3]}}
    file.write_text(yaml.safe_dump({**EXPERIMENT, **output}))
    found = load_campaign(file, registry=load_registry(no_plugins=True))
    assert isinstance(found, Campaign)
    return found


def ends(campaign: Campaign, first: Callable[[], StudyEnd], monkeypatch: pytest.MonkeyPatch) -> tuple[Any, list[str]]:
    """Run the campaign with this end of the first study; the others complete."""
    begun: list[int] = []

    def run_study(_: Any, resolved: Any, __: Any, **___: Any) -> StudyEnd:
        begun.append(resolved.experiment.seed)
        return first() if begun == [1] else StudyEnd.COMPLETED

    monkeypatch.setattr(campaigns, "run_study", run_study)
    said: list[str] = []
    return run_campaign(campaign, TrainingContext(registry={}), say=said.append), said


def raising(error: Exception) -> Callable[[], StudyEnd]:
    def end() -> StudyEnd:
        raise error

    return end


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (StudyError("the disk is full"), ExitCode.FAILED),
        (RefusedError("another runner", guard="G22"), ExitCode.REFUSED),
        (DataError("row 7 is missing"), ExitCode.DATA),
        (PluginError("no such logger"), ExitCode.PLUGIN),
    ],
)
def test_after_any_error_of_a_study_the_next_one_runs(
    campaign: Campaign, monkeypatch: pytest.MonkeyPatch, error: Exception, code: ExitCode
) -> None:
    """The error is printed, stored with reason and code, and is the worst of the campaign."""
    found, said = ends(campaign, raising(error), monkeypatch)
    assert found == {"seed-1": code, "seed-2": ExitCode.COMPLETED, "seed-3": ExitCode.COMPLETED}
    assert worst(found.values()) is code
    assert f"[1/3] seed-1: failed: {error}" in said
    index = json.loads((campaign.folder / "campaign.json").read_text())
    assert [one.get("problem") for one in index["studies"]] == [{"reason": str(error), "code": int(code)}, None, None]


def test_a_bug_in_one_study_keeps_its_traceback_and_the_others_run(
    campaign: Campaign, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Only a stop is worse than an unexpected exception, which is stored like any other reason."""
    found, _ = ends(campaign, raising(ZeroDivisionError("division by zero")), monkeypatch)
    assert found == {"seed-1": ExitCode.UNEXPECTED, "seed-2": ExitCode.COMPLETED, "seed-3": ExitCode.COMPLETED}
    assert capsys.readouterr().err.startswith("Traceback (most recent call last):\n")


@pytest.mark.parametrize("end", [StudyEnd.FAILED, StudyEnd.TIMED_OUT])
def test_a_study_that_ends_badly_does_not_end_the_campaign(
    campaign: Campaign, monkeypatch: pytest.MonkeyPatch, end: StudyEnd
) -> None:
    """The next studies run, and the bad end determines the exit code."""
    found, _ = ends(campaign, lambda: end, monkeypatch)
    assert len(found) == 3
    assert worst(found.values()) is end.exit_code


def test_a_stop_ends_the_campaign(campaign: Campaign, monkeypatch: pytest.MonkeyPatch) -> None:
    """No further study starts."""
    found, _ = ends(campaign, lambda: StudyEnd.STOPPED, monkeypatch)
    assert found == {"seed-1": ExitCode.STOPPED}


def test_the_worst_end_is_the_exit_code() -> None:
    """In order: a stop, unexpected errors, failures, refusals, timeouts."""
    order = [7, 1, 6, 5, 4, 3, 2, 8, 0]
    for position, code in enumerate(order):
        assert worst([ExitCode(one) for one in reversed(order[position:])]) == code
    assert worst([]) is ExitCode.COMPLETED


def test_the_table_has_reasons_without_tracebacks(campaign: Campaign, monkeypatch: pytest.MonkeyPatch) -> None:
    """The index keeps a plugin's traceback."""
    error = StudyError("smoke step:\n  it failed\nTraceback (most recent call last):\n  File x\nValueError: no")
    ends(campaign, raising(error), monkeypatch)
    index = find_campaign(campaign.folder)
    assert index is not None
    rows = campaign_rows(index)
    assert table_lines(rows)[-1] == "seed-1 failed: smoke step: it failed"
    assert rows[0]["reason"] == str(error)
