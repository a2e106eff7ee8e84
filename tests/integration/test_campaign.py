"""Campaigns: killed, resumed, with refused and damaged studies."""

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


def test_a_killed_campaign_resumes_and_skips_complete_studies(campaign: Study) -> None:
    """After kill -9 in the second study, the same command skips the first and runs nothing twice."""
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
    assert f"[1/2] {LABELS[0]}: complete, skipped" in done.stdout.splitlines()
    assert first.events() == before
    assert sorted(second.finished()) == [0, 1]

    # The analyses of the file run on all studies, once all are complete.
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


def test_only_selects_studies_and_a_larger_total_continues_them(campaign: Study) -> None:
    """`--only` accepts a part of the label; a larger total continues a complete study."""
    done = campaign.run("--only", "horizon-2")
    assert "analyses not run: --only runs studies; without it, the same command runs the analyses" in done.stdout
    second = Study(campaign.root, {"name": f"tiny/{LABELS[1]}"})
    assert not (campaign.folder / LABELS[0]).exists()
    assert sorted(second.finished()) == [0, 1]

    campaign.run("--only", "horizon-2", "search.trials=3")
    assert sorted(second.finished()) == [0, 1, 2]

    wrong = campaign.run("--only", "horizon-9", code=2)
    assert wrong.stderr == f"--only horizon-9: the campaign tiny has no such study; it has {', '.join(LABELS)}\n"


def test_a_job_array_runs_each_study_in_a_process_of_its_own(campaign: Study) -> None:
    """Jobs that run at once lose no entry of the index, no row of the shared table and no failure; the command without
    `--only` then runs the analyses once.
    """
    campaign.experiment["sweep"] = {"seed": [1, 2], "dataset.target.horizon": [1, 700]}
    campaign.experiment["loggers"] = ["files", "csv"]
    campaign.write()
    labels = campaign.cli("check", str(campaign.file), "--labels").stdout.splitlines()
    assert labels == ["seed-1_horizon-1", "seed-1_horizon-700", "seed-2_horizon-1", "seed-2_horizon-700"]
    jobs = [campaign.start("--only", label) for label in labels]
    outputs = [job.communicate(timeout=300)[0] for job in jobs]
    assert [job.returncode for job in jobs] == [0, 4, 0, 4], outputs

    rows = json.loads(campaign.cli("status", str(campaign.file), "--json").stdout)["studies"]
    assert [(row["study"], row["state"]) for row in rows] == list(zip(labels, ["completed", "failed"] * 2, strict=True))
    with (campaign.folder / "experiment_results.csv").open() as file:
        trials = [(row["experiment"], row["trial"]) for row in csv.DictReader(file)]
    assert sorted(trials) == [(f"tiny-{label}", str(number)) for label in labels[::2] for number in (0, 1)]
    assert all(row["reason"] in output for row, output in list(zip(rows, outputs, strict=True))[1::2])
    assert not (campaign.folder / "analyses").exists()

    campaign.experiment["sweep"]["dataset.target.horizon"] = [1, 2]
    campaign.write()
    others = [campaign.start("--only", f"seed-{seed}_horizon-2") for seed in (1, 2)]
    outputs = [job.communicate(timeout=300)[0] for job in others]
    assert [job.returncode for job in others] == [0, 0], outputs
    with (campaign.folder / "tiny_results.csv").open() as file:
        assert [row["state"] for row in csv.DictReader(file)] == ["completed"] * 4
    last = campaign.run().stdout.splitlines()
    assert sum(line.endswith(": complete, skipped") for line in last) == 4
    analysed = json.loads((campaign.folder / "analyses" / "coverage" / "result.json").read_text())
    assert len(analysed["studies"]) == 4


def test_labels_are_for_campaigns(study: Study) -> None:
    """The option is refused for a single study."""
    study.write()
    done = study.cli("check", str(study.file), "--labels", code=2)
    assert done.stderr == "--labels lists the studies of a campaign, but this file has no `sweep`\n"


def test_a_refused_study_is_recorded_and_the_next_one_runs(campaign: Study) -> None:
    """It is reported before the first one runs, stored with its reason, and decides the exit code; it can run later."""
    campaign.experiment["sweep"]["dataset.target.horizon"] = [700, 1]
    label = "seed-1_horizon-700"
    campaign.write()
    planned = campaign.cli("plan", str(campaign.file), code=4)
    done = campaign.run(code=4)
    assert planned.stderr.startswith(f"{label} cannot run, the other studies can: ")
    lines = done.stdout.splitlines()
    assert lines[:2] == [f"reading {campaign.file}", f"planning {label}"]
    (reason,) = [line.partition(" can: ")[2] for line in lines if line.startswith(f"{label} cannot run, the other")]
    assert f"[1/2] {label}: failed: {reason}" in lines
    assert f"{label} failed: {reason}" in lines
    assert f"analyses not run: 1 of 2 studies are incomplete: {label}" in lines
    assert sorted(Study(campaign.root, {"name": f"tiny/{LABELS[0]}"}).finished()) == [0, 1]

    status = campaign.cli("status", str(campaign.folder))
    assert f"{label} failed: {reason}" in status.stdout.splitlines()
    rows = json.loads(campaign.cli("status", str(campaign.folder), "--json").stdout)["studies"]
    assert [(row["state"], row["reason"]) for row in rows] == [("failed", reason), ("completed", None)]
    assert f"{label} failed: {reason}" in (campaign.folder / "tiny_results.md").read_text().splitlines()

    # The reason is kept until a run of this study begins.
    campaign.run("--only", "horizon-1")
    assert json.loads((campaign.folder / "campaign.json").read_text())["studies"][0]["problem"] == {
        "reason": reason,
        "code": 4,
    }


def test_a_study_that_is_refused_at_its_start_does_not_stop_the_others(campaign: Study) -> None:
    """Its folder has other files; once they are removed, the same command completes the campaign."""
    first = campaign.folder / LABELS[0]
    first.mkdir(parents=True)
    (first / "thesis.tex").write_text("important")
    done = campaign.run(code=5)
    assert (
        f"[1/2] {LABELS[0]}: failed: {first}: this folder contains other files (thesis.tex) and no study" in done.stdout
    )
    assert [path.name for path in first.iterdir()] == ["thesis.tex"]
    assert sorted(Study(campaign.root, {"name": f"tiny/{LABELS[1]}"}).finished()) == [0, 1]
    (first / "thesis.tex").unlink()
    campaign.run()
    rows = json.loads(campaign.cli("status", str(campaign.folder), "--json").stdout)["studies"]
    assert [(row["state"], row["reason"]) for row in rows] == [("completed", None)] * 2


def test_a_damaged_study_does_not_stop_the_others(campaign: Study) -> None:
    """A journal that cannot be read fails only its study, in the run and in the table."""
    campaign.run("--only", "horizon-1")
    journal = campaign.folder / LABELS[0] / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join([lines[0], b"no json\n", *lines[2:]]))
    done = campaign.run(code=6)
    assert f"[1/2] {LABELS[0]}: failed: {journal}" in done.stdout
    assert sorted(Study(campaign.root, {"name": f"tiny/{LABELS[1]}"}).finished()) == [0, 1]
    campaign.cli("status", str(campaign.folder))


def test_a_campaign_without_runnable_studies_does_not_start(campaign: Study) -> None:
    """It is refused before the first study; no file is written."""
    campaign.experiment["sweep"]["dataset.target.horizon"] = [600, 700]
    done = campaign.run(code=4)
    assert done.stderr.startswith(
        "2 of 2 studies of the campaign cannot run, so none is started:\n  seed-1_horizon-600: "
    )
    assert not campaign.folder.exists()


def test_only_is_for_campaigns(study: Study) -> None:
    """The option is refused for a single study."""
    done = study.run("--only", "x", code=2)
    assert done.stderr == "--only selects studies of a campaign, but this file has no `sweep`\n"
    assert yaml.safe_load(study.file.read_text())["name"] == "tiny"


def test_a_mistake_that_only_the_plan_finds_is_listed(campaign: Study) -> None:
    """An unread hyper-parameter in every study ends with exit code and message of an invalid file."""
    campaign.experiment["search"]["space"] = {"learning_rat": {"uniform": [0.1, 0.2]}}
    done = campaign.run(code=2)
    lines = done.stderr.splitlines()
    assert lines[0] == "2 of 2 studies of the campaign cannot run, so none is started:"
    for line, label in zip(lines[1:], LABELS, strict=True):
        assert line.startswith((f"  {label}: {campaign.file.name}:", f"  {label}: {campaign.file}:"))
        assert "unknown hyper-parameter 'learning_rat'; the trainer and model " in line
    assert not campaign.folder.exists()
