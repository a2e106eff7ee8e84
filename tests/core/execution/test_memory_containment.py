"""Memory limits of an attempt, and detection of the kernel's out-of-memory kills."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from scalecore.api.executor import AttemptStatus
from scalecore.execution.failures import crash_signal
from scalecore.execution.folder import AttemptFolder
from scalecore.execution.local.containment import AttemptGroups
from scalecore.execution.local.oom_kills import KernelKills
from scalecore.study.running_trial import RunningTrial

MOUNT = "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n"
BASE = "sys/fs/cgroup/user/job"

GREEDY = """
import torch
from scalecore.execution.local.containment import limit_data, prefer_as_victim, release
print(*prefer_as_victim(), open("/proc/self/oom_score_adj").read().strip())
print(*limit_data({limit}))
kept = []
try:
    for _ in range(40):
        kept.append(torch.ones(25_000_000))
except Exception as error:
    from scalecore.execution.failures import classify
    release()
    print(classify(error), len(kept) < 20)
"""


def delegated(root: Path, *, controllers: str = "cpu memory", members: str | None = None) -> Path:
    """A group of version 2 as its owner sees it."""
    group = root / BASE
    group.mkdir(parents=True)
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text("0::/user/job\n")
    (root / "proc/self/mountinfo").write_text(MOUNT)
    (group / "cgroup.controllers").write_text(controllers)
    (group / "cgroup.procs").write_text(members or f"{os.getpid()}\n")
    (group / "cgroup.subtree_control").write_text("")
    return group


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_DATA counts what a process allocates on Linux only")
def test_g40_an_allocation_beyond_the_limit_is_an_exception_and_not_a_kill() -> None:
    """A process that needs 4 GB under a limit of 2 GB gets an error that is recognised and reported."""
    done = subprocess.run(
        [sys.executable, "-c", GREEDY.format(limit=2 * 10**9)], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.splitlines() == ["oom_score_adj 500 500", "RLIMIT_DATA 2.0 GB", "out_of_memory True"]


def test_g40_a_delegated_group_gets_one_limited_group_for_each_attempt(tmp_path: Path) -> None:
    """The driver moves to a leaf, memory is delegated, and the attempt's whole process tree is killed together."""
    base = delegated(tmp_path)
    groups = AttemptGroups(root=tmp_path)
    assert groups.make("a", limit=None) is None
    assert not (base / "driver").exists(), "nothing is moved for an attempt without a limit"
    (base / "a").mkdir()
    for name in ("memory.oom.group", "memory.swap.max"):
        (base / "a" / name).touch()
    group = groups.make("a", limit=5_000_000_000)
    assert group == base / "a"
    assert (base / "driver/cgroup.procs").read_text() == str(os.getpid())
    assert (base / "cgroup.subtree_control").read_text() == "+memory"
    written = {name: (group / name).read_text() for name in ("memory.max", "memory.oom.group", "memory.swap.max")}
    assert written == {"memory.max": "5000000000", "memory.oom.group": "1", "memory.swap.max": "0"}


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"controllers": "cpu io"}, "{base} does not control memory"),
        ({"members": f"{os.getpid()}\n1\n"}, "{base} also contains other processes"),
    ],
)
def test_a_group_that_is_not_delegated_is_left_alone(tmp_path: Path, changes: dict[str, str], why: str) -> None:
    """Without the memory controller, or with other processes in it: no group, and the reason."""
    base = delegated(tmp_path, **changes)
    groups = AttemptGroups(root=tmp_path)
    assert groups.make("a", limit=10**9) is None
    assert groups.why_not == why.format(base=base)
    assert not (base / "driver").exists()


def counter(root: Path, kills: int) -> None:
    (root / "proc/self").mkdir(parents=True, exist_ok=True)
    (root / "proc/self/cgroup").write_text("")
    (root / "proc/self/mountinfo").write_text("")
    (root / "proc/vmstat").write_text(f"pgpgin 5\noom_kill {kills}\n")


def test_g40_a_kill_by_the_kernel_is_told_once_and_only_when_it_is_recent(tmp_path: Path) -> None:
    """The counter must have risen within the last minute; a kill is attributed to one process only."""
    now = [0.0]
    counter(tmp_path, 3)
    kills = KernelKills(root=tmp_path, clock=lambda: now[0])
    assert kills.evidence() is None
    counter(tmp_path, 4)
    assert kills.evidence() == f"oom_kill rose from 3 to 4 in {tmp_path}/proc/vmstat"
    assert kills.evidence() is None
    counter(tmp_path, 5)
    for _ in range(100):
        now[0] += 1.0
        kills.look()
    assert kills.evidence() is None, "that was another process, long ago"


def test_g40_the_own_control_group_counts_before_the_machine(tmp_path: Path) -> None:
    """In a container the machine's counter also counts other containers."""
    base = delegated(tmp_path)
    (tmp_path / "proc/vmstat").write_text("oom_kill 70\n")
    (base / "memory.events").write_text("low 0\noom 0\noom_kill 0\n")
    kills = KernelKills(root=tmp_path)
    (tmp_path / "proc/vmstat").write_text("oom_kill 71\n")
    assert kills.evidence() is None
    (base / "memory.events").write_text("low 0\noom 1\noom_kill 1\n")
    assert kills.evidence() == f"oom_kill rose from 0 to 1 in {base}"


@pytest.mark.parametrize(
    ("exit_code", "kernel", "kind", "reason"),
    [
        (-9, None, "killed", "the attempt was killed from outside by SIGKILL"),
        (
            -9,
            "oom_kill rose from 0 to 1 in /proc/vmstat",
            "out_of_memory",
            "the kernel killed the attempt because memory ran out: oom_kill rose from 0 to 1 in /proc/vmstat",
        ),
        (-15, None, "killed", "the attempt was killed from outside by SIGTERM"),
        (-11, None, "crashed", "the attempt crashed with SIGSEGV"),
        (-6, None, "crashed", "the attempt crashed with SIGABRT"),
        (3, None, "crashed", "the attempt ended with exit code 3 and no result"),
    ],
)
def test_g35_how_a_process_died_is_told_apart(
    tmp_path: Path, exit_code: int, kernel: str | None, kind: str, reason: str
) -> None:
    """Killed from outside, by the kernel for memory, or by its own fault."""
    asked = type("Asked", (), {"number": 4})()
    running = RunningTrial(
        asked=asked, index=0, folder=AttemptFolder(tmp_path), handle=None, micro_batch=8, predicted_memory=1
    )
    end = running.end(AttemptStatus(state="ended", exit_code=exit_code, oom_kill=kernel))
    assert (end.kind, end.reason) == (kind, reason)


def test_a_signal_without_a_name_is_named_by_its_number() -> None:
    """Real-time signals have no name."""
    assert crash_signal(-40) == ("signal 40", False)
