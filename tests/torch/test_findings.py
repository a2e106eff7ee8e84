"""What a user is told of a compiler that is missing, before a study."""

from __future__ import annotations

import pytest

from scalecore.api.readings import Finding
from scalecore_torch.findings import compile_findings

NO_COMPILER = "no C++ compiler is found (no-such-compiler; the variable CXX names another one)"
REMEDY = "install what is missing, or set training.compile to off"


def test_a_compiler_that_is_asked_for_and_missing_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """`auto` is warned of what long trials lose, `off` needs nothing, and neither does a machine with a compiler."""
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert [*compile_findings("block", device="cpu")] == [
        Finding(
            level="refuse",
            subject="compiling",
            message=f"training.compile: block cannot be used: {NO_COMPILER}",
            remedy=REMEDY,
        )
    ]
    assert [*compile_findings("auto", device="cpu")] == [
        Finding(
            level="warn",
            subject="compiling",
            message=f"blocks are not compiled, so long trials may take longer: {NO_COMPILER}",
            remedy=REMEDY,
        )
    ]
    assert [*compile_findings("off", device="cpu")] == []
    monkeypatch.setenv("CXX", "sh")
    assert [*compile_findings("block", device="cpu")] == []


def test_on_a_gpu_its_own_compiler_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The C compiler that triton calls; on MPS, where nothing can be installed, only what is asked for is refused."""
    monkeypatch.setenv("CXX", "sh")
    monkeypatch.setenv("CC", "no-such-compiler")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    problem = "no C compiler is found, which triton needs (no-such-compiler; the variable CC names another one)"
    (found,) = compile_findings("block", device="cuda")
    assert (found.level, found.message) == ("refuse", f"training.compile: block cannot be used: {problem}")
    (found,) = compile_findings("auto", device="cuda")
    message = f"blocks are not compiled, so long trials may take longer: {problem}"
    assert (found.level, found.message) == ("warn", message)
    (found,) = compile_findings("block", device="mps")
    assert found.message == "training.compile: block cannot be used: torch does not compile for MPS well enough yet"
    assert [*compile_findings("auto", device="mps")] == []
