"""Findings about a missing compiler before a study."""

from __future__ import annotations

import pytest

from scalecore.api.readings import Finding
from scalecore_torch.findings import compile_findings

NO_COMPILER = "no C++ compiler is found (no-such-compiler; set CXX to use another one)"
REMEDY = "install what is missing, or set training.compile to off"


def test_a_missing_compiler_is_refused_if_required(monkeypatch: pytest.MonkeyPatch) -> None:
    """`auto` has a warning; `off` and machines with a compiler have no finding."""
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


def test_a_gpu_needs_its_own_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    """triton needs a C compiler. On MPS, where nothing can be installed, only `block` has a finding."""
    monkeypatch.setenv("CXX", "sh")
    monkeypatch.setenv("CC", "no-such-compiler")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    problem = "no C compiler is found, which triton needs (no-such-compiler; set CC to use another one)"
    (found,) = compile_findings("block", device="cuda")
    assert (found.level, found.message) == ("refuse", f"training.compile: block cannot be used: {problem}")
    (found,) = compile_findings("auto", device="cuda")
    message = f"blocks are not compiled, so long trials may take longer: {problem}"
    assert (found.level, found.message) == ("warn", message)
    (found,) = compile_findings("block", device="mps")
    assert found.message == "training.compile: block cannot be used: torch does not compile for MPS well enough yet"
    assert [*compile_findings("auto", device="mps")] == []
