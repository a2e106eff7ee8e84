"""Confirmation: fresh seeds for the best configurations, separate from the search."""

from __future__ import annotations

import csv
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from scalecore.api.files import read_json
from scalecore.api.trials import FIRST_RETRAINED
from scalecore.cli.main import main
from scalecore.data.predictions import read_predictions

from .conftest import Study, kill
from .test_evaluation import copied, openings, small

SECOND = f"attempts/trial_{FIRST_RETRAINED + 1}/attempt_0/epochs.jsonl"
"""Written by the second training after the search."""


@pytest.fixture(scope="module")
def finished(bars: Path, tmp_path_factory: pytest.TempPathFactory) -> Study:
    """A finished study; tests copy it."""
    study = Study(tmp_path_factory.mktemp("confirming"), small(bars))
    study.run()
    return study


def confirm(study: Study, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["confirm", str(study.folder), *arguments])


def status(study: Study) -> str:
    return CliRunner().invoke(main, ["status", str(study.folder)]).stdout


def test_g14_the_best_are_retrained_on_fresh_seeds(finished: Study, tmp_path: Path) -> None:
    """Replicates have the origin `replicate` and different seeds, and are not trials of the search.

    Means and optimism match their records. Another call trains only missing replicates; with `--test` all are measured
    once, in one opening.
    """
    study = copied(finished, tmp_path / "copy")
    trials = study.finished()
    done = confirm(study, "--top", "2", "--seeds", "3")
    assert done.exit_code == 0, done.stdout + done.stderr
    assert study.finished() == trials
    with (study.folder.parent / "experiment_results.csv").open(newline="") as table:
        assert [row["trial"] for row in csv.DictReader(table)] == ["0", "1"]
    assert "2 of 2 trials finished" in status(study)

    records = study.retrained()
    assert {record["origin"]["kind"] for record in records} == {"replicate"}
    seeds = {record["seed"] for record in records} | {trial["seed"] for trial in trials.values()}
    assert len(seeds) == 6 + 2
    content = read_json(study.folder / "confirm" / "confirmation.json")
    for row in content["validation"]["rows"]:
        claimed = trials[row["trial"]]
        own = [record for record in records if record["origin"]["label"].startswith(f"trial {row['trial']}, ")]
        assert {record["state"] for record in own} == {"completed"}
        for record in own:
            assert record["hyperparameters"] == claimed["hyperparameters"]
            assert record["architecture"] == claimed["architecture"]
        mean = sum(record["value"] for record in own) / 3
        assert row["mean"] == pytest.approx(mean)
        assert row["optimism"] == pytest.approx(claimed["value"] - mean)
        assert row["interval"][0] < row["mean"] < row["interval"][1]
        assert row["smallest"] < row["mean"] < row["largest"]
    first, second = content["validation"]["rows"]
    assert first["mean"] < second["mean"]
    assert (first["verdict"], content["test"], openings(study)) == (None, None, [])
    assert second["verdict"] in ("worse", "equivalent", "inconclusive")
    assert f"trial {first['trial']}: {first['mean']:.4f}" in done.stdout
    assert (
        "The best of 2 trials, each retrained on 3 fresh seeds."
        in (study.folder / "confirm" / "confirmation.md").read_text()
    )

    more = confirm(study, "--top", "1", "--seeds", "4", "--test")
    assert more.exit_code == 0, more.stdout + more.stderr
    assert study.retrained()[:6] == records
    assert len(study.retrained()) == 7
    (opening,) = openings(study)
    assert opening["models"] == 4
    assert "The test data was opened once, for this result." in more.stdout
    content = read_json(study.folder / "confirm" / "confirmation.json")
    losses = [one["test_loss"] for own in content["replicates"].values() for one in own]
    assert content["test"]["rows"][0]["mean"] == pytest.approx(sum(losses) / 4)
    kept = read_predictions(study.folder / "predictions" / f"test_{FIRST_RETRAINED}.npz")
    assert kept.about["part"] == "test"

    again = confirm(study, "--top", "1", "--seeds", "4", "--test")
    assert again.stdout == more.stdout[more.stdout.index("Validation, val_loss") :]
    assert len(openings(study)) == 1
    assert "test data: opened once" in status(study)
    left = [path.name for path in (study.folder / "weights").iterdir() if str(FIRST_RETRAINED)[:2] in path.name]
    assert len(left) == 7 - 4, "weights of measured replicates were not removed"
    assert CliRunner().invoke(main, ["verify", str(study.folder)]).exit_code == 0


def test_a_killed_confirmation_is_resumed(finished: Study, tmp_path: Path) -> None:
    """Finished replicates are not retrained, and every replicate exists once."""
    study = copied(finished, tmp_path / "copy")
    arguments = ("confirm", str(study.folder), "--top", "1", "--seeds", "2")
    study.hold(SECOND)
    process = subprocess.Popen(
        study.command(*arguments), cwd=study.root, env=study.environment, stdout=subprocess.PIPE, text=True
    )
    worker = study.held(SECOND)
    kill(process)
    os.kill(worker, signal.SIGKILL)
    before = study.retrained()
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.stdout + done.stderr
    assert "2 trainings, 1 already finished" in done.stdout
    assert study.retrained()[:1] == before
    assert sorted(record["number"] for record in study.retrained()) == [FIRST_RETRAINED, FIRST_RETRAINED + 1]


def test_a_study_without_finished_trials_is_refused(finished: Study, tmp_path: Path) -> None:
    """A folder without a study, and a study without a finished trial."""
    nothing = confirm(Study(tmp_path, finished.experiment))
    assert nothing.exit_code == 2
    study = copied(finished, tmp_path / "copy")
    lines = (study.folder / "journal.jsonl").read_text().splitlines(keepends=True)
    first = next(index for index, line in enumerate(lines) if '"event":"asked"' in line)
    (study.folder / "journal.jsonl").write_text("".join(lines[:first]))
    unfinished = confirm(study)
    assert (unfinished.exit_code, unfinished.stderr) == (
        5,
        f"{study.folder}: the study has no finished trial; run it with `scalecore run`\n",
    )
    shutil.rmtree(study.folder)
