"""Studies that are copied, moved and renamed: locations do not matter (guard G28)."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

import psutil
import pytest

from scalecore.testing.fakes import EXPERIMENT, write_walk

from .conftest import Study, output_of


def project(root: Path) -> Study:
    """A project with relative paths in its file."""
    dataset = {**EXPERIMENT["dataset"], "path": "data/walk.csv"}
    search = {**EXPERIMENT["search"], "trials": 2}
    loggers = ["console", "files", {"use": "csv", "path": "tables/results.csv"}]
    return Study(root, {**EXPERIMENT, "dataset": dataset, "search": search, "loggers": loggers})


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a searched, confirmed and evaluated study, whose original folder is gone; tests copy it."""
    root = tmp_path_factory.mktemp("first")
    study = project(root / "home/project")
    (study.root / "data").mkdir(parents=True)
    write_walk(study.root / "data")
    study.run()
    study.cli("confirm", str(study.folder), "--top", "1", "--seeds", "2")
    study.cli("evaluate", str(study.folder), "--trial", "0")
    return (root / "home").rename(root / "kept") / "project"


def rows(study: Study) -> list[tuple[str, str]]:
    """Trial and folder of each row of the project's table."""
    with (study.root / "tables/results.csv").open(newline="") as stream:
        return [(row["trial"], row["study"]) for row in csv.DictReader(stream)]


def test_g28_a_copied_project_continues_without_the_original(kept: Path, tmp_path: Path) -> None:
    """With other names, at another depth, through a link: every command works, and nothing is done twice."""
    shutil.copytree(kept, tmp_path / "caf\u00e9 $x/new project")
    (tmp_path / "link").symlink_to(tmp_path / "caf\u00e9 $x/new project")
    study = project(tmp_path / "link")
    folder = str(study.folder)
    for command in (
        ["verify", folder],
        ["status", folder],
        ["report", folder],
        ["analyze", "coverage", folder],
        ["confirm", folder, "--top", "1", "--seeds", "2"],
    ):
        study.cli(*command)
    (replicates,) = json.loads((study.folder / "confirm/confirmation.json").read_text())["replicates"].values()
    again = [one for one in study.retrained() if one["origin"]["kind"] == "replicate"]
    assert [len(one["attempts"]) for one in again] == [1] * len(replicates) == [1, 1]
    study.cli("evaluate", folder, "--trial", "1")
    study.cli("predict", str(study.folder / "promoted/trial_0000"), "--dataset", "start=2017-01-01")
    study.run("search.trials=3")
    assert sorted(study.finished()) == [0, 1, 2]
    study.cli("verify", folder)
    assert rows(study) == [(number, str(study.folder.resolve())) for number in "012"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["caf\u00e9 $x", "link"]


def test_g28_a_renamed_study_continues(kept: Path, tmp_path: Path) -> None:
    """By the folder's new name in the file and on the command line, and by the experiment file in the folder."""
    shutil.copytree(kept, tmp_path / "project")
    study = project(tmp_path / "project")
    renamed = study.folder.rename(study.root / "study of old")
    for name in ("verify", "evaluate"):
        done = study.cli(name, str(renamed))
    for name in ("status", "plan"):
        done = study.cli(name, str(renamed / "experiment.yaml"))
    assert "2 of 2 trials" in study.cli("status", str(renamed / "experiment.yaml")).stdout
    done = study.run("search.trials=3", "output=study of old")
    assert "2 already finished" in done.stdout
    assert rows(study) == [(number, str(renamed)) for number in "012"]


def test_g28_one_changed_cell_is_other_data(kept: Path, tmp_path: Path) -> None:
    """The content of data counts, not its location (G52)."""
    shutil.copytree(kept, tmp_path / "project")
    study = project(tmp_path / "project")
    data = study.root / "data/walk.csv"
    lines = data.read_text().splitlines()
    lines[500] = lines[500][:-1] + str((int(lines[500][-1]) + 1) % 10)
    data.write_text("\n".join(lines) + "\n")
    before = study.events()
    for done in (study.run("search.trials=3", code=5), study.cli("evaluate", str(study.folder), code=5)):
        assert "the data changed since the study began" in done.stderr
    assert study.events() == before


def test_g28_a_copy_reads_its_own_files(kept: Path, tmp_path: Path) -> None:
    """The original still exists and has changed; data that was not copied is read from there."""
    home = kept.parents[1] / "home"
    shutil.copytree(kept, home / "project")
    try:
        (home / "project/data/walk.csv").write_text("of the original\n")
        shutil.copytree(kept, tmp_path / "project")
        study = project(tmp_path / "project")
        for command in (["evaluate", str(study.folder)], ["confirm", str(study.folder), "--top", "1", "--seeds", "2"]):
            study.cli(*command)
        shutil.copy2(kept / "data/walk.csv", home / "project/data")
        shutil.rmtree(study.root / "data")
        study.cli("evaluate", str(study.folder), "--trial", "1")
    finally:
        shutil.rmtree(home)


def test_g28_a_moved_campaign_is_complete(tmp_path: Path) -> None:
    """Its studies are skipped in the new place."""
    campaign = project(tmp_path / "old")
    campaign.experiment |= {"search": {**EXPERIMENT["search"], "trials": 1}, "sweep": {"seed": [1, 2]}}
    (campaign.root / "data").mkdir(parents=True)
    write_walk(campaign.root / "data")
    campaign.run()
    moved = Study((tmp_path / "old").rename(tmp_path / "new"), campaign.experiment)
    done = moved.run()
    assert done.stdout.count("complete, skipped") == 2
    assert moved.cli("status", str(moved.folder)).stdout.startswith("campaign walk: 2 of 2 studies completed\n")


def held_study(study: Study) -> tuple[subprocess.Popen[str], int]:
    """A running study whose second trial is stopped by a signal; returns the driver and the attempt."""
    study.experiment["search"]["trials"] = 2
    # Enough epochs for a checkpoint before the last one.
    study.experiment["training"]["hyperparameters"] = {"epochs": 12, "warmup_steps": 5}
    place = "trial_0001/attempt_0/epochs.jsonl"
    study.hold(place, beside=["checkpoint.json"])
    process = study.start()
    worker = study.held(place)
    # The driver writes the tables some seconds after the first trial, the page after the summary.
    tables = [study.folder / f"tiny_study_summary.{kind}" for kind in ("json", "md")]
    study.wait_for(
        lambda: (
            all(path.exists() for path in tables)
            and json.loads(tables[0].read_text())["counts"]["completed"] == 1
            and tables[1].stat().st_mtime_ns >= tables[0].stat().st_mtime_ns
        ),
        "the tables",
    )
    return process, worker


def content(folder: Path) -> dict[Path, tuple[int, int, bytes]]:
    """Inode, time and content of every file of a folder."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {path: (path.stat().st_ino, path.stat().st_mtime_ns, path.read_bytes()) for path in files}


def copied(folder: Path, copy: Path, *, how: str) -> None:
    """Copy as `cp -a` or `rsync -a`, or with hard links as `cp -al`."""
    shutil.copytree(folder, copy, symlinks=True, copy_function=os.link if how == "hard links" else shutil.copy2)


@pytest.mark.parametrize("how", ["copied", "hard links"])
def test_g46_a_copy_does_not_affect_the_running_study(study: Study, tmp_path: Path, how: str) -> None:
    """Commands, runs and training in the copy affect no file and no process of the original, which completes."""
    process, worker = held_study(study)
    copy = Study(tmp_path / "copy", {**study.experiment})
    copied(study.folder, copy.folder, how=how)
    folder, before = str(copy.folder), content(study.folder)

    status = copy.cli("status", folder)
    assert "tiny: interrupted (its process is gone; `scalecore run` resumes it); 1 of 2 trials" in status.stdout
    assert "run by process" not in status.stdout
    verify = copy.cli("verify", folder)
    assert "processes: none left running" in verify.stdout
    stop = copy.cli("stop", folder)
    assert stop.stdout == f"{copy.folder}: this study is not running\n"
    copy.write()
    for command in (["plan", str(copy.file)], ["report", folder], ["analyze", "coverage", folder]):
        copy.cli(*command)
    copy.run()
    copy.cli("evaluate", folder, "--trial", "0")

    assert content(study.folder) == before
    assert psutil.Process(worker).status() == psutil.STATUS_STOPPED
    assert f"run by process {process.pid} on" in study.cli("status", str(study.folder)).stdout
    os.kill(worker, signal.SIGCONT)
    output_of(process)
    assert [record["value"] for record in copy.finished().values()] == [
        record["value"] for record in study.finished().values()
    ]


def test_g46_a_running_study_is_recognised_by_any_path(study: Study, tmp_path: Path) -> None:
    """Through a link or a second mount of its folder, the study is running and a second runner is refused."""
    process, worker = held_study(study)
    link, second = tmp_path / "link", tmp_path / "second"
    link.symlink_to(study.folder)
    second.mkdir()
    bound = subprocess.run(["mount", "--bind", str(study.folder), str(second)], capture_output=True, check=False)
    try:
        for place in (link, second) if bound.returncode == 0 else (link,):
            assert f"run by process {process.pid} on" in study.cli("status", str(place)).stdout
            done = study.cli("run", str(study.file), f"output={place}", code=5)
            assert f"{place}: this study is already running: process {process.pid} on" in done.stderr
        assert psutil.Process(worker).status() == psutil.STATUS_STOPPED
    finally:
        subprocess.run(["umount", str(second)], capture_output=True, check=False)
        os.kill(worker, signal.SIGCONT)
    output_of(process)


def test_g46_moving_the_folder_ends_the_run_which_resumes_there(study: Study) -> None:
    """It ends with exit code 6, without processes and new files at the old place; the new place completes it."""
    process, worker = held_study(study)
    moved = study.folder.rename(study.root / "moved")
    os.kill(worker, signal.SIGCONT)
    output = output_of(process, code=6)
    assert "Traceback" not in output
    assert not study.folder.exists()
    assert not psutil.pid_exists(worker)
    study.run(f"output={moved}")
    records = [json.loads(line) for line in (moved / "journal.jsonl").read_text().splitlines()]
    finished = [event["record"]["state"] for event in records if event["event"] == "trial_finished"]
    assert finished == ["completed", "completed"]
    study.cli("verify", str(moved))


def test_g46_a_study_in_a_container_is_recognised_from_outside(study: Study) -> None:
    """Its process ids belong to other processes here: it counts as running, is refused, and nothing is killed."""
    study.experiment["search"]["trials"] = 1
    study.hold("trial_0000/attempt_0/epochs.jsonl")
    study.write()
    inside = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
    if subprocess.run([*inside, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("a namespace of process ids needs root")
    container = subprocess.Popen(
        [*inside, *study.command("run", str(study.file))], cwd=study.root, env=study.environment
    )
    told = study.root / "hold/held-0"
    study.wait_for(lambda: told.exists() and told.read_text() != "", "the attempt in the container")
    before = content(study.folder)
    status = study.cli("status", str(study.folder))
    assert status.stdout.startswith("tiny: running; 0 of 1 trials finished")
    done = study.cli("run", str(study.file), code=5)
    assert "this study is already running: process" in done.stderr
    assert content(study.folder) == before
    for child in psutil.Process(container.pid).children(recursive=True):
        child.resume()
    assert container.wait(timeout=120) == 0
    assert sorted(study.finished()) == [0]
