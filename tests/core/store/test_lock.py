from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from scalecore.api.errors import RefusedError
from scalecore.api.files import read_json, start_ticks, write_json
from scalecore.execution.process_file import is_alive
from scalecore.store.layout import StudyFolder
from scalecore.store.lock import StudyLock, runner_of

HOLD = """
import sys, time
from pathlib import Path
from scalecore.store.layout import StudyFolder
from scalecore.store.lock import StudyLock
lock = StudyLock(StudyFolder(Path(sys.argv[1])))
print("held", flush=True)
time.sleep(60)
"""


def test_g22_a_second_runner_is_refused_with_the_first_ones_pid_and_host(tmp_path: Path) -> None:
    """The message names the runner and the command to stop it; after kill -9 the folder is free."""
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    folder = StudyFolder(tmp_path)
    runner = runner_of(folder)
    assert runner is not None
    assert runner.pid == holder.pid
    who = rf"process {holder.pid} on {socket.gethostname()}"
    expected = rf"this study is already running: {who}, since .*; stop it with `scalecore stop"
    with pytest.raises(RefusedError, match=expected):
        StudyLock(folder)
    holder.kill()
    holder.wait()
    holder.stdout.close()
    assert runner_of(folder) is None
    lock = StudyLock(folder)
    now = runner_of(folder)
    assert now is not None
    assert now.pid == os.getpid()
    lock.release()
    assert runner_of(folder) is None


def test_a_deleted_lock_file_is_noticed(tmp_path: Path) -> None:
    """A runner notices that it lost the lock, so that two runners never write."""
    folder = StudyFolder(tmp_path)
    lock = StudyLock(folder)
    assert lock.still_ours()
    folder.lock.unlink()
    second = StudyLock(folder)
    time.sleep(0.01)
    assert not lock.still_ours()
    assert second.still_ours()
    lock.release()
    assert folder.lease.exists(), "the lease of the second runner must survive the first one's release"
    second.release()


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel tells ticks on Linux only")
def test_a_clock_that_was_set_hides_no_process() -> None:
    """A time of day that is off by a day is the same process; other ticks are not."""
    import psutil

    me, ticks = os.getpid(), start_ticks(os.getpid())
    assert ticks is not None
    yesterday = psutil.Process().create_time() - 86400
    assert is_alive(me, yesterday, ticks=ticks)
    assert not is_alive(me, psutil.Process().create_time(), ticks=ticks - 1)
    assert not is_alive(me, yesterday)


def test_every_runner_has_a_number_of_its_own(tmp_path: Path) -> None:
    """Even after a release; a runner whose number differs from the lease must not write."""
    folder = StudyFolder(tmp_path)
    numbers = []
    for _ in range(3):
        lock = StudyLock(folder)
        numbers.append(read_json(folder.lease)["epoch"])
        lock.release()
    assert numbers == [1, 2, 3]
    lock = StudyLock(folder)
    assert lock.still_ours()
    write_json(folder.lease, {**read_json(folder.lease), "epoch": 9})
    assert not lock.still_ours()
    lock.release()
    assert folder.lease.exists(), "the lease of another runner must survive"


def test_a_lease_from_before_a_restart_holds_nothing(tmp_path: Path) -> None:
    """After a power cut the pid may belong to another process that started at the same tick."""
    folder = StudyFolder(tmp_path)
    lock = StudyLock(folder)
    assert runner_of(folder) is not None
    lease = read_json(folder.lease)
    lock.release()
    write_json(folder.lease, {**lease, "boot": "another start of this machine"})
    assert runner_of(folder) is None


def test_g46_a_runner_of_a_container_is_known_by_its_lock(tmp_path: Path) -> None:
    """Its pid belongs to no process here, or to another one."""
    folder = StudyFolder(tmp_path)
    lock = StudyLock(folder)
    lease = {**read_json(folder.lease), "pid": 1}
    write_json(folder.lease, lease)
    assert (found := runner_of(folder)) is not None
    assert found.plain() == lease
    lock.release()
    write_json(folder.lease, lease)
    assert runner_of(folder) is None


def test_g46_a_copy_of_hard_links_has_a_lock_of_its_own(tmp_path: Path) -> None:
    """The original keeps running; a second runner of the original is refused."""
    folder, copy = StudyFolder(tmp_path / "study"), StudyFolder(tmp_path / "copy")
    folder.path.mkdir()
    lock = StudyLock(folder)
    shutil.copytree(folder.path, copy.path, copy_function=os.link)
    with pytest.raises(RefusedError, match="this study is already running: process"):
        StudyLock(folder)
    second = StudyLock(copy)
    assert lock.still_ours()
    assert second.still_ours()
    second.release()
    assert runner_of(folder) is not None
    lock.release()


def test_a_lease_that_came_with_a_copy_holds_nothing(tmp_path: Path) -> None:
    """The runner of the original does not run the copy, so another one may."""
    folder, copy = StudyFolder(tmp_path / "study"), StudyFolder(tmp_path / "copy")
    folder.path.mkdir()
    lock = StudyLock(folder)
    shutil.copytree(folder.path, copy.path)
    assert runner_of(folder) is not None
    assert runner_of(copy) is None
    second = StudyLock(copy)
    assert runner_of(copy) is not None
    second.release()
    assert lock.still_ours()
    lock.release()


def test_a_lease_of_version_0_1_is_believed(tmp_path: Path) -> None:
    """It names no folder, and has another key for the start of its process, which newer leases contain too."""
    folder = StudyFolder(tmp_path)
    lock = StudyLock(folder)
    lease = read_json(folder.lease)
    assert lease["process_started"] == lease["started"]
    old = {name: value for name, value in lease.items() if name not in ("folder", "started")}
    write_json(folder.lease, old)
    assert (found := runner_of(folder)) is not None
    assert found.plain() == old
    lock.release()
