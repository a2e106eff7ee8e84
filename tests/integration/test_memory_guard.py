"""Trials that use too much memory are stopped, and the study completes with the reasons."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from .conftest import Study, tiny_experiment
from .greedy import install


@pytest.fixture
def greedy(tmp_path: Path, bars: Path) -> Study:
    """A study over the shapes of the greedy family."""
    experiment = tiny_experiment(bars)
    experiment["model"] = "greedy"
    experiment["search"] = {"use": "random", "trials": 2}
    experiment["monitors"] = [{"use": "memory", "min_free_gb": 0, "limit_gb": 2.4, "reserve_gb": 0}]
    experiment["execution"] |= {"retry": {"out_of_memory": 1, "crash": 0}}
    return Study(tmp_path, experiment, path=[str(install(tmp_path / "site"))])


def only(study: Study, *appetites: int) -> None:
    study.experiment["search"]["exclude"] = [f"appetite == {n}" for n in range(6) if n not in appetites]
    study.experiment["search"]["trials"] = len(appetites)


def by_appetite(study: Study) -> dict[int, dict[str, Any]]:
    return {record["architecture"]["values"]["appetite"]: record for record in study.finished().values()}


def test_g40_a_trial_that_uses_too_much_memory_is_stopped_and_the_study_completes(greedy: Study) -> None:
    """Private memory raises an exception, and the step is repeated down to a micro-batch of 1. For shared memory the
    monitor stops the trial, and it is retried with half the micro-batch. Then the shape is quarantined with the
    reason; the other trials complete."""
    only(greedy, 0, 1, 2, 3)
    greedy.experiment["training"]["micro_batch"] = 32
    done = greedy.run()
    records = by_appetite(greedy)
    assert {n: r["state"] for n, r in records.items()} == {
        0: "completed",
        1: "out_of_memory",
        2: "out_of_memory",
        3: "completed",
    }
    attempts = {n: [(a["class"], a["micro_batch"]) for a in r["attempts"]] for n, r in records.items()}
    twice = [("out_of_memory", 32), ("out_of_memory", 16)]
    assert attempts == {
        0: [("completed", 32)],
        1: [("out_of_memory", 32)],
        2: twice,
        3: [("out_of_memory", 32), ("completed", 16)],
    }
    assert [(one["from"], one["to"]) for one in records[1]["batching"]["halvings"]] == [
        (32, 16),
        (16, 8),
        (8, 4),
        (4, 2),
        (2, 1),
    ]
    assert records[1]["reason"].startswith("StepOutOfMemory: a step does not fit even with a micro-batch of 1:")
    assert (records[3]["micro_batch"], records[3]["accumulation"]) == (16, 4)
    assert records[2]["reason"].startswith("stopped by a guard: trial ")
    assert records[2]["reason"].endswith("more than 85 % of 2.4 GB (limit_gb of the memory monitor) [G40]")
    # How far a trial exceeds the limit depends on when the monitor reads: benchmarks/guards.py measures it. Without a
    # monitor the second trial would use all memory.
    for number, smallest, most in ((1, 1, 2.4e9), (2, 16, 4.8e9)):
        assert records[number]["value"] is None
        (flag,) = [flag for flag in records[number]["flags"] if flag["kind"] == "quarantined"]
        assert flag["text"] == f"out of memory at micro-batch {smallest}, the smallest one tried: not retried"
        assert all(attempt["peak_memory"] < most for attempt in records[number]["attempts"])
    limit = "RLIMIT_DATA 2.0 GB"
    assert records[0]["attempts"][0]["contained"] == ["oom_score_adj 500", limit]
    assert "memory limit per attempt: 2.0 GB (RLIMIT_DATA); killed first if memory runs out" in done.stdout
    assert greedy.workers() == []


def test_g40_a_shape_in_quarantine_is_not_run_again_until_the_limit_grows(greedy: Study) -> None:
    """Another configuration of the same shape ends at once, without an attempt; under a larger limit it runs."""
    only(greedy, 2)
    greedy.experiment["search"] |= {"trials": 2, "space": {"learning_rate": {"log_uniform": [1e-4, 1e-3]}}}
    greedy.experiment["execution"]["retry"]["out_of_memory"] = 0
    greedy.run(code=6)
    first, second = (greedy.finished()[number] for number in (0, 1))
    assert len(first["attempts"]) == 1
    assert second["attempts"] == []
    assert second["state"] == "out_of_memory"
    assert second["reason"] == f"the shape is quarantined since trial 0: {first['reason']}"
    greedy.experiment["monitors"][0]["limit_gb"] = 2.8
    greedy.run("search.trials=3", code=6)
    assert len(greedy.finished()[2]["attempts"]) == 1


def test_g45_a_trial_that_crashes_and_one_that_hangs_do_not_block_the_others(greedy: Study) -> None:
    """A segmentation fault is a crash with its signal, a hang is `timed_out`, and the study reaches its total."""
    only(greedy, 0, 4, 5)
    greedy.experiment["execution"] |= {"hang_after": 20.0}
    greedy.run()
    records = by_appetite(greedy)
    assert {n: r["state"] for n, r in records.items()} == {0: "completed", 4: "failed", 5: "timed_out"}
    assert records[4]["reason"] == "the attempt crashed with SIGSEGV"
    assert "(execution.hang_after) [G45]" in records[5]["reason"]
    assert greedy.workers() == []
    for number in (4, 5):
        assert "in misbehave" in records[number]["attempts"][0]["log_tail"], "the log lacks the stack"


def container(limit: int) -> Path:
    """A separate control group with a memory limit, like that of a container."""
    if os.geteuid() != 0:
        pytest.skip("making a control group with a memory limit needs root here")
    for root, name in (
        (Path("/sys/fs/cgroup"), "memory.max"),
        (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes"),
    ):
        group = root / f"scalecore-test-{os.getpid()}"
        try:
            group.mkdir()
        except OSError:
            continue
        if (group / name).exists():
            (group / name).write_text(str(limit))
            return group
        group.rmdir()
    pytest.skip("no memory controller of control groups may be used here")


def test_g40_a_kill_by_the_kernel_is_recognised_and_the_driver_survives(greedy: Study) -> None:
    """In a container that is too small the kernel kills the attempt; it is retried with half the micro-batch."""
    group = container(1_200_000_000)
    only(greedy, 0, 3)
    greedy.experiment["monitors"] = []
    greedy.experiment["training"]["micro_batch"] = 32
    greedy.write()
    try:
        process = greedy.start(before=lambda: (group / "cgroup.procs").write_text(str(os.getpid())))
        output, _ = process.communicate(timeout=120)
    finally:
        greedy.wait_for(lambda: not (group / "cgroup.procs").read_text(), "the end of the group")
        group.rmdir()
    assert process.returncode == 0, output
    record = by_appetite(greedy)[3]
    assert [a["class"] for a in record["attempts"]] == ["out_of_memory", "completed"]
    assert record["attempts"][0]["exit_code"] == -9
    text = f"the kernel killed the attempt because memory ran out: oom_kill rose from 0 to 1 in {group}"
    assert record["attempts"][0]["reason"] == text
    assert record["micro_batch"] == 16
