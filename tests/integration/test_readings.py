"""Readings of monitors appear everywhere, with a reason if there is no number."""

from __future__ import annotations

import csv
import json
import os
import signal

import psutil
import pytest

from .conftest import Study, output_of


def test_g41_a_missing_temperature_is_reported_everywhere(study: Study) -> None:
    """Plan, status, CSV, record and summary report it; the record has a flag, unless the policy is to ignore it."""
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
    output_of(process)
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
    study.run("search.trials=2")
    record = study.finished()[1]
    assert record["hardware"]["temperature"] == {"unavailable": "no temperature sensor"}
    assert [flag for flag in record["flags"] if flag["guard"] == "G41"] == []


def test_a_study_without_monitors_is_reported(study: Study) -> None:
    """Plan and summary report it."""
    study.experiment["search"]["trials"] = 1
    done = study.run()
    assert "no hardware monitor is active: memory and temperature are not watched" in done.stdout
    summary = (study.folder / "tiny_study_summary.md").read_text()
    assert "No hardware monitor was active: nothing was watched." in summary


def test_readings_of_a_plugin_monitor_appear_everywhere(study: Study) -> None:
    """CSV, status, console, record and summary have its value; older columns of the CSV stay."""
    study.cli("new", "monitor", "my-fans", "--into", str(study.root))
    code = study.root / "my_fans.py"
    text = code.read_text().replace('"load"', '"fan_speed"').replace('unit=""', 'unit="rpm"')
    code.write_text(text.replace("load, reason = None, None", "load, reason = 1234.0, None").replace("load = os", "os"))
    study.experiment["plugins"] = ["./my_fans.py"]
    study.experiment["monitors"] = [{"use": "my-fans", "pause_above": 5000.0}]
    study.experiment["loggers"] = [{"use": "console", "every": 0.01}, "files"]
    study.experiment["training"]["hyperparameters"]["epochs"] = 40
    study.write()
    study.hold("trial_0000/attempt_0/epochs.jsonl")
    process = study.start("search.trials=1")
    worker = study.held("trial_0000/attempt_0/epochs.jsonl")
    study.wait_for((study.folder / "hardware.json").exists, "the first readings")
    status = study.cli("status", str(study.folder))
    assert "hardware: memory not watched, temperature not watched, fan_speed 1234 rpm" in status.stdout.splitlines()
    readings = json.loads(study.cli("status", str(study.folder), "--json").stdout)["hardware"]["readings"]
    assert [(one["quantity"], one["unit"], one["value"]) for one in readings] == [("fan_speed", "rpm", 1234.0)]
    # The driver reports it once a second; an attempt that is released earlier ends unnoticed.
    assert process.stdout is not None
    with process:
        assert any("fan_speed 1234 rpm" in line for line in process.stdout)
        os.kill(worker, signal.SIGCONT)
        rest = process.stdout.read()
    assert process.returncode == 0, rest
    with (study.folder / "hardware.csv").open(newline="") as stream:
        row = next(csv.DictReader(stream))
    assert (row["fan_speed"], row["units"]) == ("1234", "fan_speed: rpm")
    assert study.finished()[0]["hardware"]["fan_speed"]["unit"] == "rpm"
    summary = (study.folder / "tiny_study_summary.md").read_text()
    assert "| fan_speed, rpm | 1234 | 1234 | 1234 |  |" in summary
