"""Studies that are copied, moved and renamed: what lies where decides nothing (guard G28)."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import psutil

from .conftest import Study


def test_a_copy_of_a_running_study_leaves_its_processes_alone(study: Study, tmp_path: Path) -> None:
    """The copy is nobody's: `status`, `verify` and `stop` say so, and a run completes it from the copied checkpoints
    while the original's runner and attempt live on, and complete the original.
    """
    study.experiment["search"]["trials"] = 2
    study.hold("trial_0001/attempt_0/epochs.jsonl", beside=["checkpoint.json"])
    process = study.start()
    worker = study.held("trial_0001/attempt_0/epochs.jsonl")
    copy = Study(tmp_path / "copy", {**study.experiment})
    shutil.copytree(study.folder, copy.folder, symlinks=True)

    status = copy.cli("status", str(copy.folder))
    assert status.returncode == 0, status.stderr
    assert "tiny: interrupted (its driver is gone; `scalecore run` continues it); 1 of 2 trials" in status.stdout
    assert "run by process" not in status.stdout
    verify = copy.cli("verify", str(copy.folder))
    assert verify.returncode == 0, verify.stdout
    assert "processes: none is left" in verify.stdout
    stop = copy.cli("stop", str(copy.folder))
    assert stop.stdout == f"{copy.folder}: nobody is running this study\n"
    done = copy.run()
    assert done.returncode == 0, done.stderr

    assert psutil.Process(worker).status() == psutil.STATUS_STOPPED
    assert f"run by process {process.pid} on" in study.cli("status", str(study.folder)).stdout
    os.kill(worker, signal.SIGCONT)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    assert [record["value"] for record in copy.finished().values()] == [
        record["value"] for record in study.finished().values()
    ]
