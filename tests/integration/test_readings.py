"""What monitors read shows everywhere, in words where there is no number."""

from __future__ import annotations

import csv
import os
import signal

import psutil
import pytest

from .conftest import Study


def test_g41_a_machine_without_a_temperature_says_so_everywhere(study: Study) -> None:
    """In the plan, in status, in the CSV, in the record with a flag, and in the summary; not in the flags of a trial
    that runs when the policy is told to ignore it."""
    if getattr(psutil, "sensors_temperatures", dict)():
        pytest.skip("this machine has a temperature sensor")
    study.experiment["search"]["trials"] = 1
    study.experiment["monitors"] = [{"use": "memory", "min_free_gb": 0, "reserve_gb": 0}, "thermal", "cpu", "disk"]
    study.experiment["monitors"][3] = {"use": "disk", "min_free_gb": 0, "stop_below_gb": 0}
    study.experiment["training"]["hyperparameters"]["epochs"] = 40
    study.write()
    planned = study.cli("plan", str(study.file))
    assert "  warn   temperature: no temperature sensor: thermal guard inactive" in planned.stdout
    study.hold("trial_0000/attempt_0/epochs.jsonl")
    process = study.start()
    worker = study.held("trial_0000/attempt_0/epochs.jsonl")
    study.wait_for((study.folder / "hardware.json").exists, "the first readings")
    status = study.cli("status", str(study.folder))
    assert "temperature unavailable (no temperature sensor)" in status.stdout
    os.kill(worker, signal.SIGCONT)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    record = study.finished()[0]
    assert record["hardware"]["temperature"] == {"unavailable": "no temperature sensor"}
    assert record["hardware"]["process_memory"]["max"] > 50e6
    flags = [flag["text"] for flag in record["flags"] if flag["guard"] == "G41"]
    assert flags == ["temperature unavailable: no temperature sensor"]
    with (study.folder / "hardware.csv").open(newline="") as stream:
        row = next(csv.DictReader(stream))
    assert row["temperature"] == ""
    assert "temperature: no temperature sensor" in row["unavailable"]
    summary = (study.folder / "tiny_study_summary.md").read_text()
    assert "| temperature |  |  |  | unavailable (no temperature sensor) |" in summary
    study.experiment["monitors"][1] = {"use": "thermal", "on_missing": "ignore"}
    study.experiment["training"]["hyperparameters"]["epochs"] = 40
    assert study.run("search.trials=2").returncode == 0
    record = study.finished()[1]
    assert record["hardware"]["temperature"] == {"unavailable": "no temperature sensor"}
    assert [flag for flag in record["flags"] if flag["guard"] == "G41"] == []


def test_a_study_without_monitors_says_that_nothing_was_watched(study: Study) -> None:
    """In the plan and in the summary."""
    study.experiment["search"]["trials"] = 1
    done = study.run()
    assert done.returncode == 0, done.stderr
    assert "no hardware monitor is active: memory and temperature are not watched" in done.stdout
    summary = (study.folder / "tiny_study_summary.md").read_text()
    assert "No hardware monitor was active: nothing was watched." in summary
