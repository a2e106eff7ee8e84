"""The end of an attempt, decided without running one."""

from __future__ import annotations

from typing import Any

import pytest

from scalecore.api.executor import AttemptStatus
from scalecore.config.experiment import Retry
from scalecore.execution.attempt_result import AttemptEnd, AttemptResult
from scalecore.execution.folder import DISK_EXIT
from scalecore.planning.batch_plans import Way
from scalecore.study.attempt_end import classified, why_again

UNREAD = "the attempt's result cannot be read: result.json: not JSON"


@pytest.mark.parametrize(
    ("status", "how", "expected"),
    [
        ({"exit_code": 3}, {}, ("crashed", "the attempt ended with exit code 3 and no result")),
        ({"exit_code": 0}, {}, ("crashed", "the attempt ended with exit code 0 and no result")),
        ({"exit_code": 0}, {"unread": "result.json: not JSON"}, ("crashed", UNREAD)),
        ({"exit_code": -9}, {}, ("killed", "the attempt was killed from outside by SIGKILL")),
        ({"exit_code": -11}, {}, ("crashed", "the attempt crashed with SIGSEGV")),
        ({"state": "lost"}, {}, ("killed", "the executor lost the attempt")),
        ({"state": "lost"}, {"unread": "result.json: not JSON"}, ("crashed", UNREAD)),
        ({"exit_code": DISK_EXIT}, {"disk_problem": "no room"}, ("interrupted", "no room")),
        (
            {"exit_code": -9, "oom_kill": "oom_kill rose"},
            {},
            ("out_of_memory", "the kernel killed the attempt because memory ran out: oom_kill rose"),
        ),
        ({"exit_code": -9, "oom_kill": "oom_kill rose"}, {"cut": ("hung", "no step")}, ("hung", "no step")),
        (
            {"state": "lost"},
            {"cut": ("interrupted", "the driver ended"), "unread": "result.json: not JSON"},
            ("interrupted", f"the driver ended; {UNREAD}"),
        ),
    ],
)
def test_g35_an_attempt_without_a_result_ended_by_what_is_known(
    status: dict[str, Any], how: dict[str, Any], expected: tuple[str, str]
) -> None:
    """Precedence: the driver's kill, the kernel, the disk, a damaged result, a signal, the exit code."""
    found = AttemptStatus(**{"state": "ended", **status})
    assert classified(found, **{"cut": None, "disk_problem": "", "unread": None, **how}) == expected


def end(kind: Any, reason: str = "why", **result: Any) -> AttemptEnd:
    return AttemptEnd(kind=kind, reason=reason, result=AttemptResult(attempt="0-0", state=kind, **result))


SMALLER = [Way(micro_batch=32, checkpointing=False), Way(micro_batch=16, checkpointing=False)]


@pytest.mark.parametrize(
    ("kind", "ends", "how", "expected"),
    [
        ("completed", [], {}, None),
        ("pruned", [], {}, None),
        ("diverged", [], {}, None),
        ("failed", [], {}, None),
        ("hung", [], {}, None),
        ("stopped", [], {}, "it was stopped from outside; the trial resumes from its checkpoint"),
        ("interrupted", [], {}, "it was stopped from outside; the trial resumes from its checkpoint"),
        ("killed", [], {}, "why; resuming from its last checkpoint"),
        ("crashed", ["killed", "stopped"], {}, "why; resuming from its last checkpoint"),
        ("crashed", ["killed", "crashed"], {}, None),
        ("crashed", ["killed", "crashed"], {"stopping": True}, "why; resuming from its last checkpoint"),
        ("out_of_memory", [], {}, "why; retrying with a micro-batch of 32"),
        ("out_of_memory", ["out_of_memory"], {}, "why; retrying with a micro-batch of 32"),
        ("out_of_memory", ["out_of_memory"] * 2, {}, None),
        ("out_of_memory", [], {"ways": []}, None),
        ("out_of_memory", [], {"ways": [], "stopping": True}, None),
    ],
)
def test_g35_what_follows_from_the_end_of_an_attempt(
    kind: str, ends: list[str], how: dict[str, Any], expected: str | None
) -> None:
    """Two crashes are retried, and out of memory while a smaller way exists; failures of the trial are not."""
    given: dict[str, Any] = {"ways": SMALLER, "stopping": False, **how}
    retry = Retry(crash=2, out_of_memory=2)
    assert why_again(end(kind), ends=[*ends, kind], retry=retry, **given) == expected


def test_g48_a_device_that_is_missing_is_said() -> None:
    """The trial resumes when the device is back."""
    lost = end("interrupted", "torch finds no CUDA device here", error="DeviceError")
    again = why_again(lost, ends=["interrupted"], retry=Retry(), ways=[], stopping=False)
    assert again == "torch finds no CUDA device here; the trial resumes from its checkpoint"
