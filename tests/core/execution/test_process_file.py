"""A process belongs to the folder that it runs in, not to a copy of it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
from attrs import evolve

from scalecore.api.files import create_json, read_json, write_json
from scalecore.config.kept import read_kept
from scalecore.execution.folder import TAKEN_EXIT, AttemptFolder
from scalecore.execution.process_file import ProcessFile, describe_process, is_copied, lives_in


@pytest.fixture
def attempt(tmp_path: Path) -> Path:
    folder = tmp_path / "attempt"
    folder.mkdir()
    write_json(folder / "process.json", describe_process(folder))
    return folder


def stored(folder: Path) -> ProcessFile:
    return read_kept(folder / "process.json", ProcessFile)


def test_a_process_lives_in_its_folder_under_any_name(attempt: Path, tmp_path: Path) -> None:
    """A renamed, moved or linked folder is the same one."""
    assert lives_in(stored(attempt), attempt)
    (tmp_path / "link").symlink_to(attempt)
    assert lives_in(stored(attempt), tmp_path / "link")
    moved = attempt.rename(tmp_path / "moved")
    assert lives_in(stored(moved), moved)


@pytest.mark.parametrize("how", [shutil.copy2, os.link], ids=["copied", "hard links"])
def test_a_process_does_not_live_in_a_copy_of_its_folder(how: Any, attempt: Path, tmp_path: Path) -> None:
    """The copied file names a live process, but of another folder."""
    shutil.copytree(attempt, tmp_path / "copy", copy_function=how)
    assert is_copied(stored(tmp_path / "copy"), tmp_path / "copy")
    assert not lives_in(stored(tmp_path / "copy"), tmp_path / "copy")


@pytest.mark.parametrize("other", [{"host": "elsewhere"}, {"boot": "another start of this machine"}, {"ticks": 1}])
def test_a_process_of_another_machine_start_or_time_does_not_live_here(attempt: Path, other: dict[str, Any]) -> None:
    """Its pid belongs to another process by now, or never belonged to this machine."""
    assert not lives_in(evolve(stored(attempt), **other), attempt)


def test_device_numbers_count_within_one_start_of_the_machine_only(attempt: Path) -> None:
    """They change with a restart, and differ between machines that share a disk."""
    mine = stored(attempt)
    assert mine.folder is not None
    mine = evolve(mine, folder=evolve(mine.folder, device=mine.folder.device + 1))
    assert is_copied(mine, attempt)
    assert not is_copied(evolve(mine, host="elsewhere"), attempt)
    assert not is_copied(evolve(mine, boot="another start of this machine"), attempt)


def test_a_file_of_version_0_1_is_believed(attempt: Path) -> None:
    """It has neither host nor folder."""
    old = ProcessFile(pid=os.getpid(), started=psutil.Process().create_time())
    assert lives_in(old, attempt)
    assert not is_copied(old, attempt)


def test_a_second_process_in_an_attempts_folder_ends_and_writes_nothing(tmp_path: Path) -> None:
    """`process.json` is created exclusively; the second process reports the first."""
    folder = AttemptFolder(tmp_path)
    create_json(folder.process, {"pid": 12, "host": "node7"})
    command = [sys.executable, "-m", "scalecore_torch.worker", str(tmp_path), str(os.getpid())]
    second = subprocess.run(command, capture_output=True, text=True, check=False)
    assert second.returncode == TAKEN_EXIT
    assert [path.name for path in tmp_path.iterdir()] == ["process.json"]
    assert read_json(tmp_path / "process.json") == {"pid": 12, "host": "node7"}
    expected = f"{tmp_path}: this attempt was already started by process 12 on node7; this process ends\n"
    assert second.stderr == expected
