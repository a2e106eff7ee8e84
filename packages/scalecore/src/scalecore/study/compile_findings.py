"""Whether the blocks of a study's models can be compiled on this machine, said before the study starts."""

from __future__ import annotations

from collections.abc import Iterator

from scalecore.api.readings import Finding
from scalecore.training.memory import Device
from scalecore.training.policies import missing_compiler

__all__ = ["compile_findings"]


def compile_findings(asked: str, *, device: Device) -> Iterator[Finding]:
    """Nothing where `training.compile` is off, or nothing is missing for the device; torch is not imported.

    What is asked for by name and cannot be is refused.
    """
    problem = missing_compiler(device)
    if asked == "off" or problem is None:
        return
    remedy = "install what is missing, or set training.compile to off"
    if asked == "block":
        message = f"training.compile: block is asked for, but {problem}"
        yield Finding(level="refuse", subject="compiling", message=message, remedy=remedy)
    elif device != "mps":  # nothing can be installed there
        message = f"nothing is compiled, which long trials would gain from: {problem}"
        yield Finding(level="warn", subject="compiling", message=message, remedy=remedy)
