from __future__ import annotations

import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from scalecore.api.readings import Demand, Reading
from scalecore_hwmon.memory import MemoryMonitor
from scalecore_hwmon.options import MemoryOptions
from scalecore_hwmon.processes import TreeReader

if TYPE_CHECKING:
    from collections.abc import Iterator

MB = 10**6

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="shared pages are told apart on Linux only")


@contextmanager
def running(code: str) -> Iterator[subprocess.Popen[str]]:
    """A Python process that prints a line when it is ready and ends with its standard input."""
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == "ready"
        yield process
    finally:
        process.kill()
        process.communicate()


def of_trial(readings: list[Reading]) -> Reading:
    (reading,) = [reading for reading in readings if reading.quantity == "process_memory"]
    return reading


def test_g40_a_process_beyond_its_limit_is_stopped() -> None:
    """The verdict stops a real process that grows to 600 MB under a limit of 300 MB."""
    greedy = (
        "import time\nkept = []\nprint('ready', flush=True)\n"
        "for _ in range(60):\n    kept.append(bytearray(b'x' * 10_000_000))\n    time.sleep(0.02)\n"
        "time.sleep(60)\n"
    )
    monitor = MemoryMonitor(MemoryOptions(limit_gb=0.3, stop_below_gb=0.0))
    with running(greedy) as process:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            readings = list(monitor.sample({7: process.pid}))
            verdict = monitor.verdict(readings)
            if verdict.action != "go_on":
                break
            time.sleep(0.01)
    assert (verdict.action, verdict.trial, verdict.guard, verdict.out_of_memory) == ("stop_trial", 7, "G40", True)
    value = of_trial(readings).value
    assert value is not None
    assert value > 0.85 * 300 * MB
    assert (
        verdict.reason == f"trial 7 uses {value / MB:.0f} MB, more than 85 % of 300 MB (limit_gb of the memory monitor)"
    )


def test_g40_the_memory_of_a_trial_includes_its_children() -> None:
    """The memory of a data loader's process counts as the trial's."""
    parent = (
        "import subprocess, sys\n"
        "code = \"kept = bytearray(b'x' * 80_000_000); print('ready', flush=True); input()\"\n"
        "child = subprocess.Popen([sys.executable, '-c', code], stdin=subprocess.PIPE)\n"
        "input()\n"
    )
    with running(parent) as process:
        (reading,) = TreeReader().read({1: process.pid}, limit=10_000 * MB)
        assert reading.source == "process tree, RSS"
        assert reading.value is not None
        assert reading.value > 80 * MB


@linux_only
def test_g40_pages_that_processes_share_are_counted_once() -> None:
    """Three children share 100 MB with their parent. Summed RSS of 400 MB would stop the trial."""
    sharing = (
        "import os, sys\n"
        "kept = bytearray(b'x' * 100_000_000)\n"
        "children = 3\n"
        "for _ in range(children):\n"
        "    if os.fork() == 0:\n"
        "        sys.stdin.read()\n"
        "        os._exit(0)\n"
        "print('ready', flush=True)\n"
        "sys.stdin.read()\n"
    )
    monitor = MemoryMonitor(MemoryOptions(limit_gb=0.3, stop_below_gb=0.0))
    with running(sharing) as process:
        summed = TreeReader().read({2: process.pid}, limit=10_000 * MB)[0].value
        readings = list(monitor.sample({2: process.pid}))
        verdict = monitor.verdict(readings)
    assert summed is not None
    assert summed > 400 * MB
    reading = of_trial(readings)
    assert reading.source == "process tree, PSS"
    assert reading.value is not None
    assert 100 * MB < reading.value < 255 * MB
    assert verdict.action == "go_on"


@linux_only
def test_the_source_names_an_estimate_between_two_readings_of_pss() -> None:
    """Below the limit, the expensive PSS is read once a second; in between, RSS minus the shared pages is used."""
    now = [0.0]
    reader = TreeReader(clock=lambda: now[0])
    with running("kept = bytearray(b'x' * 50_000_000); print('ready', flush=True); input()") as process:
        rss = reader.read({1: process.pid}, limit=10_000 * MB)[0].value
        assert rss is not None
        sources = []
        for _ in range(3):
            sources.append(reader.read({1: process.pid}, limit=rss * 1.1)[0].source)
            now[0] += 0.6
        below = reader.read({1: process.pid}, limit=10_000 * MB)[0].source
    assert sources == ["process tree, PSS", "process tree, RSS less shared pages", "process tree, PSS"]
    assert below == "process tree, RSS"


def test_g41_an_attempt_that_has_ended_has_no_memory_figure() -> None:
    """The reason names the process that ended, reaped or not, and nothing is stopped."""
    monitor = MemoryMonitor(MemoryOptions())
    with running("print('ready', flush=True)") as process:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            reading = of_trial(list(monitor.sample({4: process.pid})))
            if reading.value is None:
                break
            time.sleep(0.01)
        assert reading.reason == f"process {process.pid} has ended"
        process.wait()
        assert of_trial(list(monitor.sample({4: process.pid}))).reason == f"process {process.pid} has ended"
    assert monitor.verdict([reading]).action == "go_on"


def test_g40_memory_stays_reserved_until_the_trial_runs_or_fails_to_start() -> None:
    """An admitted trial counts immediately. If it is not seen running for a minute, its memory becomes available."""
    now = [0.0]
    options = MemoryOptions(limit_gb=1.0, reserve_gb=0.0, max_share=1.0)
    monitor = MemoryMonitor(options, clock=lambda: now[0])

    def admit(trial: int) -> str:
        return monitor.admit(Demand(memory=500 * MB, micro_batch=8, trial=trial)).action

    assert admit(1) == "admit"
    assert admit(1) == "admit"
    assert admit(2) == "wait"
    now[0] += 61.0
    assert admit(2) == "admit"
    monitor.sample({2: 0x7FFFFFF0})
    now[0] += 61.0
    assert admit(3) == "wait"
    monitor.sample({})
    assert admit(3) == "admit"


def test_gpu_memory_does_not_count_as_the_machines() -> None:
    """This monitor admits a trial that needs more GPU memory than the machine's memory."""
    answer = MemoryMonitor(MemoryOptions()).admit(Demand(memory=10**15, micro_batch=1, device="cuda"))
    assert answer.action == "admit"
    assert MemoryMonitor(MemoryOptions()).admit(Demand(memory=10**15, micro_batch=1)).action == "refuse"


def test_g47_a_frozen_machine_has_not_thrashed_for_long() -> None:
    """An hour between two samples is a paused container; the same readings in thirty seconds of samples count."""
    now = [0.0]
    monitor = MemoryMonitor(MemoryOptions(), clock=lambda: now[0])
    readings = [
        Reading(quantity="memory_pressure", source="/proc/pressure/memory", unit="%", value=100.0),
        Reading(quantity="process_memory", source="trial 3", unit="B", value=1.0, trial=3),
    ]

    def reason() -> str | None:
        monitor.sample({})
        return monitor.verdict(readings).reason

    assert reason() is None
    now[0] += 3600.0
    assert reason() is None
    for _ in range(20):
        now[0] += 2.0
        told = reason()
    assert told is not None
    assert told.startswith("the machine has been thrashing for ")
