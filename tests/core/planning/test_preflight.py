"""Findings about the machine before a study: ok, warn or refuse, with a remedy."""

from __future__ import annotations

import json
import re
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from scalecore.cli.main import main
from scalecore.execution.local.devices import FoundGpus
from scalecore.planning.preflight import (
    device_finding,
    folder_findings,
    machine_findings,
    other_runs,
    room_finding,
    warmup_findings,
)
from scalecore.store.study_device import StudyDevice


def open_files(limit: int) -> tuple[str, str]:
    """Level and message where a process may open so many files."""
    code = (
        "from scalecore.planning.preflight import machine_findings; found = machine_findings()[0];"
        "print(found.level, found.message, sep='|')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (limit, 4096)),
        capture_output=True,
        text=True,
        check=True,
    )
    level, message = done.stdout.strip().split("|")
    return level, message


def test_a_low_limit_of_open_files_is_reported() -> None:
    """A low limit is a warning, a very low one is refused."""
    assert open_files(1024) == ("ok", "limit of 1024")
    assert open_files(200) == ("warn", "limit of 200 is too low")
    assert open_files(48) == ("refuse", "limit of 48 is too low")


def test_another_run_on_the_machine_is_found(tmp_path: Path) -> None:
    """With its process and folder; a read-only command does not count, nor a program that starts a run."""
    script = tmp_path / "scalecore"
    script.write_text("print('up', flush=True)\nimport time\ntime.sleep(60)\n")

    def start(*words: str, by: str = sys.executable) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [by, str(script), *words],
            executable=sys.executable,
            stdout=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        return process

    runs = [start("run", "spy.yaml"), start("status", "spy.yaml"), start("run", "spy.yaml", by="srun")]
    try:
        found = [folder for _, folder in other_runs() if folder == str(tmp_path)]
        assert found == [str(tmp_path)]
        finding = machine_findings()[1]
        assert finding.level == "warn"
        assert f"in {tmp_path}" in finding.message
        assert finding.message.endswith(") share its memory, cores and GPUs")
    finally:
        for process in runs:
            process.kill()
            process.communicate()


def test_a_folder_that_cannot_hold_a_study_is_refused(tmp_path: Path) -> None:
    """A file in its place, or no permission to write; for a new folder its parent is checked."""
    (tmp_path / "file").touch()
    (found,) = folder_findings(tmp_path / "file")
    assert (found.level, found.message) == ("refuse", f"{tmp_path}/file is not a folder")
    (found,) = folder_findings(tmp_path / "studies" / "new")
    assert found.level == "ok"
    assert found.message.startswith(f"{tmp_path} can be written")


def test_an_impossible_device_is_refused() -> None:
    """Before torch is imported."""
    assert device_finding("cpu").level == "ok"
    if sys.platform != "darwin":
        found = device_finding("mps")
        assert (found.level, found.message) == ("refuse", "mps is set, but this machine is not a Mac")


HERE = FoundGpus(names=("GPU-a", "GPU-b"), source="libcuda.so.1")
NONE = FoundGpus(source="neither libcuda.so.1 nor libnvidia-ml.so.1 is installed")
HIDDEN = FoundGpus(source="CUDA_VISIBLE_DEVICES hides all GPUs")
SICK = FoundGpus(names=("GPU-a",), source="libnvidia-ml.so.1", problem="libcuda.so.1: unknown error")
STUB = FoundGpus(source="libcuda.so.1: stub", problem="libcuda.so.1: stub")


@pytest.mark.skipif(sys.platform == "darwin", reason="MPS is what auto finds on a Mac")
@pytest.mark.parametrize(
    ("wanted", "study", "gpus", "build", "level", "message"),
    [
        ("auto", None, NONE, "cpu", "ok", f"auto: the CPU, no GPU found ({NONE.source})"),
        ("auto", None, HIDDEN, "cu130", "ok", f"auto: the CPU, no GPU found ({HIDDEN.source})"),
        ("auto", None, STUB, "cu130", "ok", "auto: the CPU, no GPU found (libcuda.so.1: stub)"),
        ("auto", None, HERE, "cu130", "ok", "auto: CUDA, 2 GPUs (by libcuda.so.1)"),
        (
            "auto",
            None,
            HERE,
            "cpu",
            "warn",
            "the driver reports 2 GPUs (by libcuda.so.1), but torch is built without CUDA: trials use the CPU",
        ),
        ("cuda", None, HERE, "cu130", "ok", "cuda: 2 GPUs (by libcuda.so.1)"),
        ("cuda", None, HERE, "cpu", "refuse", "cuda is set, but torch is built without CUDA"),
        ("cuda", None, NONE, "cu130", "refuse", f"cuda is set, but {NONE.source}"),
        ("cuda", None, STUB, "cu130", "refuse", "cuda is set, but libcuda.so.1: stub"),
        (
            "cuda",
            None,
            SICK,
            "cu130",
            "warn",
            "cuda: 1 GPU (by libnvidia-ml.so.1), but CUDA may be unable to use them: libcuda.so.1: unknown error",
        ),
        ("auto", "cuda", HERE, "cu130", "ok", "auto: 2 GPUs (by libcuda.so.1), the device of the study"),
        ("auto", "cuda", HIDDEN, "cu130", "refuse", f"this study trains on cuda (NVIDIA H200), but {HIDDEN.source}"),
        ("auto", "cpu", HERE, "cu130", "ok", "auto: cpu, the device of the study"),
        ("auto", "mps", HERE, "cu130", "refuse", "this study trains on mps, but this machine is not a Mac"),
        ("cpu", "cpu", HERE, "cu130", "ok", "cpu"),
    ],
)
def test_g48_the_device_of_a_study_is_checked_before_torch_is_imported(
    wanted: str, study: Any, gpus: FoundGpus, build: str, level: str, message: str
) -> None:
    """With the result and the library that reported it; a resumed study needs its device."""
    began = None if study is None else StudyDevice(kind=study, gpu="NVIDIA H200" if study == "cuda" else None)
    found = device_finding(wanted, study=began, gpus=gpus, build=build)
    assert (found.level, found.message) == (level, message)


def test_g44_room_for_checkpoints_and_data_is_checked(tmp_path: Path) -> None:
    """A model with checkpoints too large for the disk is refused before its first step."""
    assert room_finding(tmp_path, data=1000, checkpoints=26_400).level == "ok"
    found = room_finding(tmp_path, data=0, checkpoints=52_800_000 * 10**9)
    assert found.level == "refuse"
    assert found.message.endswith("the study needs 52800000.0 GB for data and checkpoints")
    (tmp_path / "journal.jsonl").touch()
    assert room_finding(tmp_path, data=0, checkpoints=52_800_000 * 10**9).level == "warn"


def test_a_warm_up_longer_than_the_training_is_reported(tmp_path: Path) -> None:
    """By the plan, with the numbers; a warm-up within the longest training is no finding."""
    assert list(warmup_findings(warmup=99, epochs=10, steps_per_epoch=10)) == []
    file = tmp_path / "mine.yaml"
    CliRunner().invoke(main, ["init", str(file), "--no-plugins"], catch_exceptions=False)

    def findings(*overrides: str) -> list[str]:
        done = CliRunner().invoke(main, ["plan", str(file), "--no-plugins", "--json", *overrides])
        assert done.exit_code == 0, done.output
        return [one["message"] for one in json.loads(done.stdout)["findings"] if one["subject"] == "warm-up"]

    space = "search.space={learning_rate: {log_uniform: [1e-4, 1e-3]}, warmup_steps: {choice: [100, 500]}}"
    assert findings(space) == []
    assert findings(space, "training.hyperparameters.epochs=10") == [
        "100 warm-up steps, but the longest training has only 50 steps (10 epochs of 5): "
        "no trial reaches its learning rate"
    ]
    assert findings("training.hyperparameters={epochs: 10, warmup_steps: 5}") == []


def test_early_stopping_with_a_large_min_delta_is_reported(tmp_path: Path) -> None:
    """`min_delta` is compared with the best baseline's loss, which for returns is far below the default of 0.001."""
    file = tmp_path / "mine.yaml"
    CliRunner().invoke(main, ["init", str(file), "--no-plugins"], catch_exceptions=False)

    def findings(*overrides: str) -> list[str]:
        done = CliRunner().invoke(main, ["plan", str(file), "--no-plugins", "--json", *overrides])
        assert done.exit_code == 0, done.output
        return [one["message"] for one in json.loads(done.stdout)["findings"] if one["subject"] == "early stopping"]

    returns = "dataset.target={kind: forward_return, horizon: 1}"
    assert findings() == []
    (message,) = findings(returns)
    assert re.fullmatch(
        r"only improvements above 0\.001 count, but the best baseline's loss is 0\.0000\d+: "
        "trials may stop while they still improve",
        message,
    )
    assert findings(returns, "training.early_stopping={min_delta: 0}") == []
    assert findings(returns, "training.early_stopping=null") == []
    assert findings(returns, "objective={metric: r2, direction: maximize}") == []


def test_doctor_reports_findings_by_its_exit_code() -> None:
    """Without a file: findings and the readings of installed monitors; nothing is refused here."""
    done = CliRunner().invoke(main, ["doctor", "--no-plugins", "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert [one["subject"] for one in found["findings"]][:4] == ["open files", "other runs", "containment", "device"]
    assert found["readings"] == []
    shown = CliRunner().invoke(main, ["doctor", "--no-plugins"], catch_exceptions=False).stdout
    assert "ok     device: " in shown
    assert "no monitor is installed: pip install scalecore-hwmon" in shown


@pytest.mark.parametrize("words", [["doctor", "nowhere.yaml"], ["doctor", "--josn"]])
def test_doctor_refuses_what_it_cannot_read(words: list[str]) -> None:
    """As for every command: a message, exit code 2, no traceback."""
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 2
    assert "Traceback" not in done.output


MONITORS = """
from attrs import frozen
from scalecore import hookimpl
from scalecore.api.options import option
from scalecore.api.components import HardwareMonitorRecord

@frozen(kw_only=True)
class PlugOptions:
    address: str = option(help="Where it is.")

def broken(options, context):
    raise OSError("no such device")

@hookimpl
def scalecore_hardware_monitors():
    return [
        HardwareMonitorRecord(name="plug", summary="A plug.", options=PlugOptions, factory=broken),
        HardwareMonitorRecord(name="meter", summary="A meter.", factory=broken),
    ]
"""


def test_doctor_reports_a_monitor_that_cannot_start(fake_plugin: Any) -> None:
    """One with a required option, and one that raises; the others still report."""
    fake_plugin("acme", version="1.2", code=MONITORS)
    done = CliRunner().invoke(main, ["doctor"])
    lines = done.stdout.splitlines()
    assert "warn   plug: no default for address; give an experiment file that uses it" in lines, done.output
    assert "warn   meter: monitor 'meter' (acme 1.2) cannot start: OSError: no such device" in lines
    assert any(line.startswith("ok     ") for line in lines)
