"""Chooses how a trial computes: its precision and whether its blocks are compiled, with the reasons.

Both change the last digits of a result, so `auto` decides from the trial's content (shape, windows, epochs) and from
the machine (device, compiler), never from a measurement: a resumed trial keeps its policy, and equal trials have equal
policies. The trial's record contains the policy.
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
"""`few`: weights are cast to bfloat16 all at once, and compiled code combines small, independent kernels. `graph`:
steps of full batches are captured and replayed, with the learning rate in float32."""
Evaluation = Literal["fp32", "tf32"]
"""`tf32`: float32, except that a GPU's matrix units use inputs of products with 10 bits of mantissa."""


@frozen(kw_only=True)
class Policy:
    """The settings of a trial's computation. `why` contains the reason for each."""

    precision: Precision = "fp32"
    compile: Compile = "off"
    evaluation: Evaluation = "fp32"
    """Precision of evaluations; older checkpoints and records do not contain it."""
    launches: Launches = "plain"
    """How a GPU runs the kernels of a step."""
    products: Library | None = None
    """The library of float32 products on a CPU; None if the model supports no choice, and in older records."""
    why: Mapping[str, str]

    def plain(self) -> dict[str, Any]:
        """The content for the record and for checkpoints."""
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

    `compiler_problem` is the reason why blocks cannot be compiled, or None. Raises `RefusedError` if `compile` is
    `block` and there is such a reason.
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
            "launches": "as set" if device == "cuda" or launches == "plain" else f"no effect on {device}",
        },
    )


def cpp_compiler() -> str:
    """The C++ compiler that torch calls."""
    return os.environ.get("CXX") or ("clang++" if sys.platform == "darwin" else "g++")


def missing_compiler(device: str) -> str | None:
    """The missing requirement for compiling for `device`; None if nothing is missing.

    It imports nothing, so that a plan can call it.
    """
    if device == "mps":
        return "torch does not compile for MPS well enough yet"
    if device == "cuda":
        if importlib.util.find_spec("triton") is None:
            return "the package triton is not installed"
        # Triton builds launchers with a C compiler, which it looks for in this order.
        name = os.environ.get("CC") or next(filter(shutil.which, ("gcc", "clang")), "gcc")
        if shutil.which(name) is None:
            return f"no C compiler is found, which triton needs ({name}; set CC to use another one)"
    else:
        name = cpp_compiler()
        if shutil.which(name) is None:
            return f"no C++ compiler is found ({name}; set CXX to use another one)"
    scheme = sysconfig.get_default_scheme().replace("posix_local", "posix_prefix")  # Debian's own scheme has no headers
    header = Path(sysconfig.get_path("include", scheme)) / "Python.h"
    return None if header.is_file() else f"Python's headers are not installed ({header})"


def _precision(asked: str, *, device: str, bf16_hardware: bool) -> tuple[Precision, str]:
    if asked == "fp32":
        return "fp32", "as set"
    if asked == "bf16":
        return "bf16", "as set" if bf16_hardware else "as set; this processor has no instructions for it"
    if device == "cuda" and bf16_hardware:
        return "bf16", "auto: the GPU has matrix units for bfloat16"
    if device == "cuda":
        return "fp32", "auto: the GPU has no matrix units for bfloat16"
    # Independent of the shape: shapes of one study are compared, so all must use the same precision.
    return "fp32", f"auto: float32 on {device}, where bfloat16 must be set explicitly"


def _evaluation(precision: Precision, *, device: str, hardware: bool) -> tuple[Evaluation, str]:
    """Without matrix units, evaluating a window would take longer than training on it; units for bfloat16 support
    TF32."""
    if device != "cuda":
        return "fp32", f"float32 on {device}"
    if precision == "fp32":
        return "fp32", "like the training"
    if not hardware:
        return "fp32", "the GPU has no matrix units for TF32"
    return "tf32", "the training is in bfloat16, and the GPU has matrix units for TF32"


def _compile(asked: str, *, device: str, precision: Precision, problem: str | None, work: Work) -> tuple[Compile, str]:
    if asked == "off":
        return "off", "as set"
    if work.blocks == 0:
        problem = "the model declares no blocks (repeated_blocks or compile_blocks)"
    if asked == "block":
        if problem is not None:
            raise RefusedError(f"training.compile: block cannot be used: {problem}; use auto or off")
        return "block", "as set"
    if problem is not None:
        return "off", f"auto: {problem}"
    pays, why = compiling_pays(work, device=device, precision=precision)
    return "block" if pays else "off", f"auto: {why}"
