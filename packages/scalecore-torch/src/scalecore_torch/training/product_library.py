"""Chooses the library for float32 matrix products on a CPU, for models that support the choice.

torch uses its BLAS: MKL in its builds for x86. MKL uses the full width of AVX-512 on Intel's processors and half of it
on all others. oneDNN, also part of torch, uses the full width everywhere. On Intel's processors the products take the
same time in both libraries, and MKL has less overhead (docs/performance.md).

The two round differently. The choice is therefore made once, at the start of a study, from the processor's model and
never from a measurement, which could differ the next time. It is stored with the study and used by every trial.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from scalecore.api.plan_report import ProductsReport

if TYPE_CHECKING:
    from torch import nn

Library = Literal["torch", "onednn"]

AVX512 = frozenset(("avx512f", "avx512bw", "avx512dq", "avx512vl"))
"""The parts of AVX-512 that torch requires."""


def read_cpuinfo() -> str:
    """The content of `/proc/cpuinfo`; empty on other systems than Linux."""
    try:
        return Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def choose_library(cpuinfo: str) -> ProductsReport:
    """The faster library on the processor that `cpuinfo` describes; `torch` means torch's default."""
    first = cpuinfo.strip().partition("\n\n")[0]  # all cores are alike
    fields = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in first.splitlines())}
    maker = fields.get("vendor_id")
    if maker is None:
        return ProductsReport(name="torch", why="not an x86 processor: torch's default library")
    if not set(fields.get("flags", "").split()) >= AVX512:
        return ProductsReport(name="torch", why=f"{maker} without AVX-512: MKL is as wide as oneDNN")
    if maker == "GenuineIntel":
        return ProductsReport(
            name="torch", why=f"{maker} with AVX-512: MKL uses its full width with less overhead per call"
        )
    return ProductsReport(name="onednn", why=f"{maker} with AVX-512: oneDNN uses its full width, MKL half of it")


def use_library(module: nn.Module, wanted: Library | None) -> Library | None:
    """Make the module use the library. Returns the library in use, None if the module supports no choice.

    `wanted` is None in studies older than the choice: they use oneDNN with AVX-512.
    """
    method = getattr(module, "use_products", None)
    if method is None:
        return None
    used: Any = method(wanted or "onednn")
    if used not in ("torch", "onednn"):
        raise TypeError(f"{type(module).__name__}.use_products() returned {used!r}, neither 'torch' nor 'onednn'")
    found: Library = used
    return found
