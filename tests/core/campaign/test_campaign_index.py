"""The index of a campaign, written by several processes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from scalecore.api.errors import ExitCode
from scalecore.campaign.load import Campaign, load_campaign
from scalecore.campaign.run import _Index, find_campaign, select
from scalecore.plugins.registry import load_registry
from scalecore.store.layout import StudyFolder
from scalecore.store.lock import StudyLock
from scalecore.testing.fakes import EXPERIMENT, write_walk

ROUNDS = 20


def loaded(file: Path) -> Campaign:
    found = load_campaign(file, registry=load_registry(no_plugins=True))
    assert isinstance(found, Campaign)
    return found


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A campaign of four studies."""
    write_walk(tmp_path)
    file = tmp_path / "experiment.yaml"
    output = {"output": str(tmp_path / "out"), "sweep": {"seed": [1, 2, 3, 4]}}
    file.write_text(yaml.safe_dump({**EXPERIMENT, **output}))
    (tmp_path / "out").mkdir()
    return file


def problems(file: Path) -> list[str | None]:
    found = json.loads((file.parent / "out" / "campaign.json").read_text())
    return [one.get("problem", {}).get("reason") for one in found["studies"]]


def fail_often(file: Path, label: str) -> None:
    """Start jobs of one study again and again, each of which fails."""
    campaign = loaded(file)
    (study,) = chosen = select(campaign, [label])
    for number in range(ROUNDS):
        _Index(campaign, selected=chosen).note(study, f"{label} failed {number + 1} times", code=ExitCode.FAILED)


def test_failures_noted_by_several_processes_are_all_kept(file: Path) -> None:
    """Each process changes only its own entry, although all of them write the same file."""
    jobs = [subprocess.Popen([sys.executable, __file__, file, f"seed-{seed}"]) for seed in (1, 2, 3, 4)]
    assert [job.wait() for job in jobs] == [0] * 4
    assert problems(file) == [f"seed-{seed} failed {ROUNDS} times" for seed in (1, 2, 3, 4)]


def test_a_study_that_ran_well_has_no_failure_left(file: Path) -> None:
    """A failure that another process noted in the meantime goes too."""
    campaign = loaded(file)
    study = campaign.studies[1]
    mine = _Index(campaign, selected=campaign.studies[1:2])
    _Index(campaign, selected=campaign.studies).note(study, "no memory", code=ExitCode.FAILED)
    assert problems(file) == [None, "no memory", None, None]
    mine.note(study, None, code=ExitCode.COMPLETED)
    assert problems(file) == [None] * 4


def test_a_study_that_another_job_runs_has_not_failed(file: Path) -> None:
    """A second job is refused; neither its start nor its refusal changes what the first one noted."""
    campaign = loaded(file)
    first = campaign.studies[0]
    index = _Index(campaign, selected=[first])
    index.note(first, "no memory", code=ExitCode.FAILED)
    folder = StudyFolder(campaign.folder / first.label)
    folder.path.mkdir()
    lock = StudyLock(folder)
    try:
        second = _Index(campaign, selected=campaign.studies)
        second.note(first, "this study is already running", code=ExitCode.REFUSED)
        assert problems(file) == ["no memory", None, None, None]
    finally:
        lock.release()
    found = find_campaign(campaign.folder)
    assert found is not None
    assert [entry.label for entry in found.studies] == [study.label for study in campaign.studies]


if __name__ == "__main__":  # one of several processes of a test
    fail_often(Path(sys.argv[1]), sys.argv[2])
