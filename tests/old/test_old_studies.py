"""Studies of version 0.1 are read, reported and verified unchanged, and finished with the same results."""

from __future__ import annotations

import csv
import json
import re
import shutil
from typing import Any

import pytest

from scalecore import __version__

from .conftest import Project
from .places import vendor

STUDIES = ("classification", "forecast", "confirmed")


def check_golden(record: dict[str, Any], figures: dict[str, Any], golden: dict[str, Any]) -> None:
    """Compare a trial with its golden result: bit by bit on a processor of the same vendor, else approximately."""
    assert record["hash"] == figures["hash"]
    assert record["value"] == pytest.approx(figures["value"], rel=1e-4)
    if vendor() == golden["made"]["vendor"]:
        assert record["versions"]["weights"] == figures["weights"]
        assert record["value"] == figures["value"]


@pytest.mark.parametrize("name", STUDIES)
def test_verify_finds_nothing_wrong(project: Project, name: str) -> None:
    """A study of 0.1 is complete, and `verify` does not change it."""
    before = {path: path.read_bytes() for path in project.path.rglob("*") if path.is_file()}
    done = project.scalecore("verify", project.study(name))
    assert done.returncode == 0, done.stdout + done.stderr
    assert {path: path.read_bytes() for path in project.path.rglob("*") if path.is_file()} == before


def test_status_reads_states_and_values(project: Project) -> None:
    """`status` lists finished, failed, pruned and unfinished trials of 0.1, with their values."""
    done = project.scalecore("status", project.study("classification"), "--json")
    assert done.returncode == 0, done.stderr
    status = json.loads(done.stdout)
    assert status["counts"] == {"completed": 6, "failed": 1, "pruned": 1}
    assert status["state"] == "stopped"
    assert status["total"] == 11
    assert status["best"]["number"] == 5
    assert status["best"]["value"] == pytest.approx(0.69171527614359)
    assert [trial["number"] for trial in status["unfinished"]] == [8]


@pytest.mark.parametrize("name", STUDIES)
def test_status_and_report_are_written(project: Project, name: str, golden: dict[str, Any]) -> None:
    """The report of a study of 0.1 has the value of every finished trial."""
    done = project.scalecore("status", project.study(name))
    assert done.returncode == 0, done.stderr
    assert name in done.stdout
    out = project.path / "page"
    done = project.scalecore("report", project.study(name), "--output", out)
    assert done.returncode == 0, done.stdout + done.stderr
    text = "".join(path.read_text() for path in sorted(out.rglob("*.md")))
    for number, record in project.records(name).items():
        if record["state"] == "completed":
            assert f"{record['value']:.4g}"[:6] in text, f"trial {number}"


def test_all_studies_have_one_page(project: Project) -> None:
    """Studies of 0.1 with different targets, unfinished ones and a confirmed one: groups without mixing, gaps named."""
    out = project.path / "page"
    studies = [project.study(name) for name in ("classification", "confirmed", "forecast")]
    done = project.scalecore("report", *studies, "--output", out)
    assert done.returncode == 0, done.stderr
    data = json.loads((out / "result.json").read_text())["data"]["whole campaign"]
    assert [row["verdict"] for row in data["Verdict"]["verdicts"]] == ["not assessable"] * 3
    fresh = {row["group"]: row["fresh seeds"] for row in data["Budgets"]["best"]}
    assert fresh == {"kind direction": 0, "kind label": 2, "kind forward_return": 0}
    assert "smallest relevant difference, declared before the study" in data["Checklist"]["gaps"]
    assert data["Trials and cost"]["origins"][-1]["replicate"] == 4
    assert (out / "tables" / "verdicts.tex").exists()


@pytest.mark.parametrize(("name", "number"), [("classification", 8), ("forecast", 1)])
def test_run_finishes_a_half_trained_trial_with_the_golden_weights(
    project: Project, name: str, number: int, golden: dict[str, Any]
) -> None:
    """A trial that 0.1 stopped ends with the uninterrupted result; finished trials stay."""
    before = project.records(name)
    done = project.scalecore("run", project.path / f"{name}.yaml", "--allow-changed-code")
    assert done.returncode == 0, done.stdout + done.stderr
    records = project.records(name)
    assert {one: records[one] for one in before} == before
    assert {one["versions"]["scalecore"] for one in before.values()} == {"0.1.0"}
    assert records[number]["versions"]["scalecore"] == __version__
    assert records[number]["resumptions"] == 1
    check_golden(records[number], golden["studies"][name][str(number)], golden)
    assert project.scalecore("verify", project.study(name)).returncode == 0
    assert project.scalecore("run", project.path / f"{name}.yaml").returncode == 0, "asked for once"


def test_g26_a_study_of_0_1_is_not_continued_without_the_option(project: Project) -> None:
    """The message names versions, sources and the option; nothing is written."""
    journal = (project.study("forecast") / "journal.jsonl").read_bytes()
    done = project.scalecore("run", project.path / "forecast.yaml")
    assert done.returncode == 5
    told = re.fullmatch(
        rf"{re.escape(str(project.study('forecast')))}: the code changed since the study was last run \((.+)\); "
        r"results of two versions would be mixed\. Go back to the previous version, or pass --allow-changed-code: "
        r"every record names its versions\n",
        done.stderr,
    )
    assert told is not None, done.stderr
    # Python and libraries of this machine may differ as well.
    changes = dict(one.split(" ", 1) for one in told[1].split(", "))
    assert changes["scalecore"] == changes["scalecore-patchtst"] == f'"0.1.0" -> "{__version__}"'
    assert list(changes)[-2:] == ["code", "code:results"]
    assert all(re.fullmatch('"[0-9a-f]{16}" -> "[0-9a-f]{16}"', changes[name]) for name in ("code", "code:results"))
    assert (project.study("forecast") / "journal.jsonl").read_bytes() == journal


@pytest.mark.parametrize("name", ["confirmed"])
def test_a_new_study_of_the_same_file_has_the_golden_weights(
    project: Project, name: str, golden: dict[str, Any]
) -> None:
    """A new study of the same experiment has the hashes, seeds and weights of 0.1."""
    shutil.rmtree(project.study(name))
    done = project.scalecore("run", project.path / f"{name}.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    records = project.records(name)
    assert sorted(map(str, records)) == sorted(golden["studies"][name])
    for number, figures in golden["studies"][name].items():
        check_golden(records[int(number)], figures, golden)


def test_a_confirmed_study_needs_no_new_training(project: Project) -> None:
    """`confirm` uses the replicates of 0.1; its table differs from that of 0.1 by the method of the intervals."""
    folder = project.study("confirmed")
    journal = (folder / "confirm" / "journal.jsonl").read_bytes()
    before = json.loads((folder / "confirm" / "confirmation.json").read_text())
    done = project.scalecore("confirm", folder, "--top", "2", "--seeds", "2", "--allow-changed-code")
    assert done.returncode == 0, done.stdout + done.stderr
    after = json.loads((folder / "confirm" / "confirmation.json").read_text())
    assert b'"attempt_started"' in journal
    assert (folder / "confirm" / "journal.jsonl").read_bytes().count(b'"attempt_started"') == journal.count(
        b'"attempt_started"'
    )
    for content in (before, after):
        del content["validation"]["baseline"]["text"]  # worded anew since 0.1
        for row in content["validation"]["rows"]:
            low, high = row.pop("interval")
            assert low < row["mean"] < high
            if (less := row.pop("worse_by_interval")) is not None:
                assert less[0] < row["worse_by"] < less[1]
    assert after["validation"] == before["validation"]
    for own in (*before["replicates"].values(), *after["replicates"].values()):
        for replicate in own:
            del replicate["number"]  # in the study's journal since 0.2
    assert after["replicates"] == before["replicates"]


def test_a_promoted_model_still_predicts(project: Project) -> None:
    """`predict` applies the model that 0.1 promoted to its data; it decides for the most probable of three classes."""
    model = project.study("confirmed") / "promoted" / "trial_0001"
    out = project.path / "predictions.csv"
    done = project.scalecore("predict", model, project.path / "data" / "prices.csv", "--output", out)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = list(csv.DictReader(out.read_text().splitlines()))
    assert len(rows) > 800
    for row in rows:
        chances = [float(row[f"probability_{number}"]) for number in range(3)]
        assert int(row["decision"]) == chances.index(max(chances))


def test_g28_a_moved_study_of_0_1_is_finished(moved: Project, golden: dict[str, Any]) -> None:
    """The journal's path to the data no longer exists; the data and the result are the same."""
    done = moved.scalecore("verify", moved.study("forecast"))
    assert done.returncode == 0, done.stdout + done.stderr
    done = moved.scalecore("run", moved.path / "forecast.yaml", "--allow-changed-code")
    assert done.returncode == 0, done.stdout + done.stderr
    check_golden(moved.records("forecast")[1], golden["studies"]["forecast"]["1"], golden)
    assert not (moved.path.parents[1] / "old").exists()


def test_g28_a_moved_and_renamed_study_of_0_1_is_used_after_its_search(moved: Project) -> None:
    """In the new place `confirm` finds replicates, `evaluate` the data and `predict` the model's dataset."""
    folder = moved.study("confirmed").rename(moved.study("renamed"))
    journal = folder / "confirm" / "journal.jsonl"
    started = journal.read_bytes().count(b'"attempt_started"')
    done = moved.scalecore("confirm", folder, "--top", "2", "--seeds", "2", "--allow-changed-code")
    assert done.returncode == 0, done.stdout + done.stderr
    assert journal.read_bytes().count(b'"attempt_started"') == started
    done = moved.scalecore("evaluate", folder, "--allow-changed-code")
    assert done.returncode == 0, done.stdout + done.stderr
    done = moved.scalecore("predict", folder / "promoted" / "trial_0001", "--dataset", "start=2017-01-02")
    assert done.returncode == 0, done.stderr
    done = moved.scalecore("verify", folder)
    assert done.returncode == 0, done.stdout + done.stderr


def test_export_writes_the_table_of_0_1_again(project: Project) -> None:
    """From the studies' folders, each trial once, also if repeated; the columns of 0.1 stay, new ones follow."""
    table = project.path / "studies" / "experiment_results.csv"
    before = list(csv.reader(table.read_text().splitlines()))
    table.unlink()
    for _ in range(2):
        done = project.scalecore("export", "csv", project.path / "studies")
        assert done.returncode == 0, done.stderr
    rows = list(csv.reader(table.read_text().splitlines()))
    width = len(before[0])
    assert rows[0][:width] == before[0]
    assert rows[0][width : width + 4] == ["target", "threshold", "tier", "auc"]
    assert sorted(row[:width] for row in rows) == sorted(before)
    rates = rows[0].index("learning_rate")
    assert all(row[rates] and row[width] for row in rows)
