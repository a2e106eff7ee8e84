"""`plan` and `run` print a line at the beginning of each stage."""

from __future__ import annotations

import json
import subprocess

import pytest

from .conftest import Study
from .test_refusals import plugin

SLOW = """
    import os, time
    from scalecore import hookimpl
    from scalecore.api.components import DatasetRecord
    from scalecore.testing.fakes import TinyDataset

    def wait_for(name):
        while not os.path.exists(name):
            time.sleep(0.01)

    wait_for("imported")

    class Slow(TinyDataset):
        def panel(self):
            wait_for("read")
            return super().panel()

    @hookimpl
    def scalecore_datasets():
        return [DatasetRecord(name="slow", summary="Waits.", factory=lambda options, context: Slow(rows=900))]
"""


@pytest.mark.parametrize("command", ["plan", "run"])
def test_a_stage_is_named_before_its_work(command: str, study: Study) -> None:
    """The line is printed before a plugin that blocks is imported, and before it reads its data."""
    plugin(study, "scalecore-slow", "scalecore_slow", SLOW)
    study.experiment |= {"dataset": {"use": "slow"}, "loggers": ["console"]}
    study.write()
    process = subprocess.Popen(
        study.command(command, str(study.file), "search.trials=1"),
        cwd=study.root,
        env=study.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == f"reading {study.file}\n"
        (study.root / "imported").touch()
        assert process.stdout.readline() == "reading the data: dataset slow\n"
        assert process.poll() is None
        (study.root / "read").touch()
        rest, _ = process.communicate(timeout=300)
    finally:
        process.kill()
    assert process.returncode == 0, rest
    stages = ["preparing windows, targets and baselines", "finding the architectures of model patchtst"]
    last = {"plan": "planning the trials: search architectural", "run": f"preparing the study in {study.folder}"}
    stages += ["checking this machine", last[command]]
    assert rest.splitlines()[: len(stages)] == stages


def test_a_resumed_study_is_read_before_its_data(study: Study) -> None:
    """Reading a long journal takes time too."""
    study.run("search.trials=1")
    for command in ("plan", "run"):
        done = study.cli(command, str(study.file), "search.trials=2")
        assert done.stdout.splitlines()[:3] == [
            f"reading {study.file}",
            f"reading the study in {study.folder}",
            f"reading the data: dataset {study.experiment['dataset']['use']}",
        ]


def test_the_smoke_step_is_announced_in_two_stages(study: Study) -> None:
    """Tracing memory and the first step each take seconds."""
    done = study.run("search.trials=1")
    lines = done.stdout.splitlines()
    at = lines.index("predicting memory: tracing one step of the smallest and the largest shape")
    assert lines[at + 1] == "smoke step: one step on the smallest and the largest shape"
    assert lines[at + 2].startswith("smoke step took ")


def test_quiet_and_json_omit_stages(study: Study) -> None:
    """`--quiet` prints only the end, `--json` only JSON."""
    study.write()
    planned = study.cli("plan", str(study.file), "--json")
    assert planned.stderr == ""
    assert json.loads(planned.stdout)["name"] == "tiny"
    end = "tiny: completed (1 of 1 trials: 1 completed)"
    done = study.run("search.trials=1", "--quiet")
    assert done.stderr == ""
    assert done.stdout.splitlines()[0] == end
    study.experiment["loggers"] = [{"use": "console", "verbosity": "quiet"}]
    done = study.run("search.trials=1")
    assert done.stderr == ""
    assert done.stdout.splitlines()[:2] == [f"reading {study.file}", end]
