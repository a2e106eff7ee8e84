"""Confirmation: fresh seeds for the best configurations, separate from the search."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from scalecore.api.files import read_json
from scalecore.cli.main import main
from scalecore.data.predictions import read_predictions

from .conftest import Study, kill
from .test_evaluation import copied, openings, small


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


def replicates(study: Study) -> list[dict[str, Any]]:
    """The records of finished replicates; fails if one finished twice."""
    path = study.folder / "confirm" / "journal.jsonl"
    lines = [json.loads(line) for line in path.read_text().split("\n")[:-1]] if path.exists() else []
    records = [line["record"] for line in lines if line["event"] == "trial_finished"]
    assert len({record["number"] for record in records}) == len(records)
    return records


def test_g14_the_best_are_retrained_on_fresh_seeds(finished: Study, tmp_path: Path) -> None:
    """Replicates have the origin `replicate` and different seeds, and are not trials of the search.

    Means and optimism match their records. Another call trains only missing replicates; with `--test` all are measured
    once, in one opening.
    """
    study = copied(finished, tmp_path / "copy")
    trials, journal = study.finished(), (study.folder / "journal.jsonl").read_bytes()
    done = confirm(study, "--top", "2", "--seeds", "3")
    assert done.exit_code == 0, done.stdout + done.stderr
    assert (study.folder / "journal.jsonl").read_bytes() == journal
    assert "2 of 2 trials finished" in status(study)

    records = replicates(study)
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
    assert replicates(study)[:6] == records
    assert len(replicates(study)) == 7
    (opening,) = openings(study)
    assert opening["models"] == 4
    assert "The test data was opened once, for this result." in more.stdout
    content = read_json(study.folder / "confirm" / "confirmation.json")
    losses = [one["test_loss"] for own in content["replicates"].values() for one in own]
    assert content["test"]["rows"][0]["mean"] == pytest.approx(sum(losses) / 4)
    kept = read_predictions(study.folder / "confirm" / "predictions" / "test_0000.npz")
    assert kept.about["part"] == "test"

    again = confirm(study, "--top", "1", "--seeds", "4", "--test")
    assert again.stdout == more.stdout[more.stdout.index("Validation, val_loss") :]
    assert len(openings(study)) == 1
    assert "test data: opened once" in status(study)
    left = {path.name for path in (study.folder / "confirm" / "weights").iterdir()}
    assert len(left) == 7 - 4, "weights of measured replicates were not removed"
    assert CliRunner().invoke(main, ["verify", str(study.folder)]).exit_code == 0


def test_a_killed_confirmation_is_resumed(finished: Study, tmp_path: Path) -> None:
    """Finished replicates are not retrained, and every replicate exists once."""
    study = copied(finished, tmp_path / "copy")
    arguments = ("confirm", str(study.folder), "--top", "1", "--seeds", "2")
    study.hold("confirm/attempts/trial_0001/attempt_0/epochs.jsonl")
    process = subprocess.Popen(
        study.command(*arguments), cwd=study.root, env=study.environment, stdout=subprocess.PIPE, text=True
    )
    worker = study.held("confirm/attempts/trial_0001/attempt_0/epochs.jsonl")
    kill(process)
    os.kill(worker, signal.SIGKILL)
    before = replicates(study)
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.stdout + done.stderr
    assert "2 trainings, 1 finished already" in done.stdout
    assert replicates(study)[:1] == before
    assert sorted(record["number"] for record in replicates(study)) == [0, 1]


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
