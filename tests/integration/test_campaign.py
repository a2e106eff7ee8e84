"""A campaign from its first study to its last, killed on the way."""

from __future__ import annotations

import csv
import json
import os
import signal

import pytest
import yaml

from .conftest import Study, kill

LABELS = ["seed-1_horizon-1", "seed-1_horizon-2"]


@pytest.fixture
def campaign(study: Study) -> Study:
    """Two studies of two linear models each."""
    study.experiment["model"] = "linear"
    study.experiment["search"] = {"use": "random", "trials": 2, "space": study.experiment["search"]["space"]}
    del study.experiment["search"]["space"]["dropout"]
    study.experiment["guards"] = {"min_validation_samples": 20, "min_validation_positives": 5}
    study.experiment["sweep"] = {"seed": [1], "dataset.target.horizon": [1, 2]}
    study.experiment["analyses"] = ["coverage"]
    return study


def test_a_killed_campaign_goes_on_and_skips_what_is_complete(campaign: Study) -> None:
    """kill -9 in the second study, then the same command: the first is skipped, nothing is run twice."""
    second = Study(campaign.root, {"name": f"tiny/{LABELS[1]}"})
    first = Study(campaign.root, {"name": f"tiny/{LABELS[0]}"})
    curve = f"{LABELS[1]}/attempts/trial_0000/attempt_0/epochs.jsonl"
    campaign.hold(curve)
    process = campaign.start()
    worker = campaign.held(curve)
    kill(process)
    os.kill(worker, signal.SIGKILL)
    before = first.events()

    assert not (campaign.folder / "analyses").exists()
    status = campaign.cli("status", str(campaign.folder))
    assert status.stdout.splitlines()[0] == "campaign tiny: 1 of 2 studies completed"
    assert "interrupted" in status.stdout

    done = campaign.run()
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"[1/2] {LABELS[0]}: complete, skipped" in done.stdout.splitlines()
    assert first.events() == before
    assert sorted(second.finished()) == [0, 1]

    # The analyses of the file are made once all studies are complete, of all of them.
    analysed = json.loads((campaign.folder / "analyses" / "coverage" / "result.json").read_text())
    assert [one["name"] for one in analysed["studies"]] == [f"tiny-{label}" for label in LABELS]

    found = json.loads(campaign.cli("status", str(campaign.file), "--json").stdout)["studies"]
    assert [row["study"] for row in found] == LABELS
    for row, one in zip(found, (first, second), strict=True):
        best = min(one.finished().values(), key=lambda record: record["value"])
        assert (row["trial"], row["value"]) == (best["number"], best["value"])
        assert row["interval"] == best["best"]["intervals"]["val_loss"]
    with (campaign.folder / "tiny_results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["dataset.target.horizon"], float(row["value"])) for row in rows] == [
        ("1", found[0]["value"]),
        ("2", found[1]["value"]),
    ]


def test_only_runs_what_it_names_and_a_grown_study_is_not_complete(campaign: Study) -> None:
    """`--only` takes a part of the label; asking for more trials continues a study that was complete."""
    done = campaign.run("--only", "horizon-2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"analyses wait for 1 of 2 studies: {LABELS[0]}" in done.stdout.splitlines()
    second = Study(campaign.root, {"name": f"tiny/{LABELS[1]}"})
    assert not (campaign.folder / LABELS[0]).exists()
    assert sorted(second.finished()) == [0, 1]

    assert campaign.run("--only", "horizon-2", "search.trials=3").returncode == 0
    assert sorted(second.finished()) == [0, 1, 2]

    wrong = campaign.run("--only", "horizon-9")
    assert wrong.returncode == 2
    assert wrong.stderr == f"--only horizon-9: the campaign tiny has no such study; it has {', '.join(LABELS)}\n"


def test_a_campaign_that_cannot_end_does_not_begin(campaign: Study) -> None:
    """A study that is refused is found before the first one runs; nothing is written."""
    campaign.experiment["sweep"]["dataset.target.horizon"] = [1, 700]
    done = campaign.run()
    assert done.returncode in (4, 5)
    assert done.stderr.startswith(
        "1 of 2 studies of the campaign cannot be run, so none is started:\n  seed-1_horizon-700: "
    )
    assert not campaign.folder.exists()


def test_only_is_for_campaigns(study: Study) -> None:
    """For a single study it is a mistake, and said so."""
    done = study.run("--only", "x")
    assert (done.returncode, done.stderr) == (
        2,
        "--only selects studies of a campaign, and this file has no `sweep`\n",
    )
    assert yaml.safe_load(study.file.read_text())["name"] == "tiny"


def test_a_mistake_that_only_the_plan_finds_is_listed(campaign: Study) -> None:
    """A hyper-parameter that nothing reads, in every study: exit code and message of a bad file."""
    campaign.experiment["search"]["space"] = {"learning_rat": {"uniform": [0.1, 0.2]}}
    done = campaign.run()
    assert done.returncode == 2, done.stderr
    lines = done.stderr.splitlines()
    assert lines[0] == "2 of 2 studies of the campaign cannot be run, so none is started:"
    for line, label in zip(lines[1:], LABELS, strict=True):
        assert line.startswith((f"  {label}: {campaign.file.name}:", f"  {label}: {campaign.file}:"))
        assert "reads a hyper-parameter 'learning_rat'; they read " in line
    assert not campaign.folder.exists()
