"""How a trial computes: its precision and whether its blocks are compiled, with the reason.

Both change the last digits of a result, so `auto` decides from what is in the trial's content (shape, windows, epochs)
and from what the machine has (device, compiler), never from a measurement: an interrupted trial goes on as it began,
and the same trial is the same again. What was chosen is in the trial's record.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from attrs import asdict, frozen

from scalecore.api.errors import RefusedError
from scalecore_torch.training.compile_choice import Work, compiling_pays
from scalecore_torch.training.product_library import Library

Precision = Literal["fp32", "bf16"]
Compile = Literal["off", "block"]
Launches = Literal["plain", "few", "graph"]
"""`few`: weights are cast to bfloat16 all at once, and compiled code joins small kernels that are independent. `graph`:
steps of full batches are captured and replayed, with the learning rate in float32."""
Evaluation = Literal["fp32", "tf32"]
"""`tf32`: float32, but for the inputs of products, which matrix units of a GPU take with 10 bits of mantissa."""


@frozen(kw_only=True)
class Policy:
    """What a trial runs with. `why` tells the reason of each in words."""

    precision: Precision = "fp32"
    compile: Compile = "off"
    evaluation: Evaluation = "fp32"
    """What evaluations are computed in; checkpoints and records from before there was a choice have none."""
    launches: Launches = "plain"
    """How many kernels a step has on a GPU."""
    products: Library | None = None
    """Of the float32 products on a CPU; None where the model has no choice, and before there was one."""
    why: Mapping[str, str]

    def plain(self) -> dict[str, Any]:
        """For the record and for checkpoints."""
        return asdict(self)


def choose(
    *,
    precision: Literal["auto", "fp32", "bf16"],
    compile: Literal["auto", "off", "block"],  # noqa: A002 - the name of the setting
    launches: Launches = "plain",
    device: str,
    bf16_hardware: bool,
    compiler_problem: str | None,
    work: Work,
) -> Policy:
    """The policy of a trial on `device` (cpu, cuda or mps).

    `compiler_problem` says what compiling lacks here, None where it lacks nothing. Raises `RefusedError` where
    compiling is asked for by name and cannot be.
    """
    chosen, why = _precision(precision, device=device, bf16_hardware=bf16_hardware)
    compiled, why_compiled = _compile(compile, device=device, precision=chosen, problem=compiler_problem, work=work)
    evaluation, why_evaluation = _evaluation(chosen, device=device, hardware=bf16_hardware)
    return Policy(
        precision=chosen,
        compile=compiled,
        evaluation=evaluation,
        launches=launches if device == "cuda" else "plain",
        why={
            "precision": why,
            "compile": why_compiled,
            "evaluation": why_evaluation,
            "launches": "asked for" if device == "cuda" or launches == "plain" else f"there are none on {device}",
        },
    )


def cpp_compiler() -> str:
    """The C++ compiler that torch calls."""
    return os.environ.get("CXX") or ("clang++" if sys.platform == "darwin" else "g++")


def missing_compiler(device: str) -> str | None:
    """What is needed to compile for `device` and is not here; None where nothing is missing.

    Imports nothing, so that a plan can ask it.
    """
    if device == "mps":
        return "torch does not compile for MPS well enough yet"
    if device == "cuda":
        if importlib.util.find_spec("triton") is None:
            return "the package triton is not installed"
        # Triton builds the calls of its kernels, in the order in which it looks for a compiler.
        name = os.environ.get("CC") or next(filter(shutil.which, ("gcc", "clang")), "gcc")
        if shutil.which(name) is None:
            return f"no C compiler is found, which triton needs ({name}; the variable CC names another one)"
    else:
        name = cpp_compiler()
        if shutil.which(name) is None:
            return f"no C++ compiler is found ({name}; the variable CXX names another one)"
    scheme = sysconfig.get_default_scheme().replace("posix_local", "posix_prefix")  # Debian's own has no headers
    header = Path(sysconfig.get_path("include", scheme)) / "Python.h"
    return None if header.is_file() else f"the headers of Python are not installed ({header})"


def _precision(asked: str, *, device: str, bf16_hardware: bool) -> tuple[Precision, str]:
    if asked == "fp32":
        return "fp32", "asked for"
    if asked == "bf16":
        return "bf16", "asked for" if bf16_hardware else "asked for; this processor has no instructions for it"
    if device == "cuda" and bf16_hardware:
        return "bf16", "auto: the GPU has matrix units for bfloat16"
    if device == "cuda":
        return "fp32", "auto: the GPU has no matrix units for bfloat16"
    # Not by shape either: shapes of one study are compared, and must not differ in how they were computed.
    return "fp32", f"auto: float32 on {device}, where bfloat16 must be asked for"


def _evaluation(precision: Precision, *, device: str, hardware: bool) -> tuple[Evaluation, str]:
    """Without matrix units an evaluated window would cost more than a trained one; those for bfloat16 take TF32."""
    if device != "cuda":
        return "fp32", f"float32 on {device}"
    if precision == "fp32":
        return "fp32", "as the training"
    if not hardware:
        return "fp32", "the GPU has no matrix units for TF32"
    return "tf32", "the training is in bfloat16, and the GPU has matrix units for TF32"


def _compile(asked: str, *, device: str, precision: Precision, problem: str | None, work: Work) -> tuple[Compile, str]:
    if asked == "off":
        return "off", "asked for"
    if work.blocks == 0:
        problem = "the model names no blocks (repeated_blocks or compile_blocks)"
    if asked == "block":
        if problem is not None:
            raise RefusedError(f"training.compile: block is asked for, but {problem}; use auto or off")
        return "block", "asked for"
    if problem is not None:
        return "off", f"auto: {problem}"
    pays, why = compiling_pays(work, device=device, precision=precision)
    return "block" if pays else "off", f"auto: {why}"
