"""Which library computes float32 matrix products on a CPU, where the model leaves scalecore that choice.

torch takes its BLAS: MKL in its builds for x86. MKL uses the full width of AVX-512 on Intel's processors and half of it
on all others, where oneDNN, which is part of torch too, uses all of it. On Intel's the products alone take the same
time in both, and less is spent around those of MKL (docs/performance.md).

The two round differently. So the choice is made once, when a study begins, from what the processor is and never from a
measurement, which could come out otherwise the next time. It is stored with the study, and every trial keeps it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from scalecore.api.plan_report import ProductsReport

if TYPE_CHECKING:
    from torch import nn

Library = Literal["torch", "onednn"]

AVX512 = frozenset(("avx512f", "avx512bw", "avx512dq", "avx512vl"))
"""The parts of AVX-512 that torch asks for before it uses any."""


def read_cpuinfo() -> str:
    """What Linux says of the processor; empty where there is no Linux."""
    try:
        return Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def choose_library(cpuinfo: str) -> ProductsReport:
    """The faster library on the processor that the text of `/proc/cpuinfo` describes; `torch` is what torch takes."""
    first = cpuinfo.strip().partition("\n\n")[0]  # all cores are alike
    fields = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in first.splitlines())}
    maker = fields.get("vendor_id")
    if maker is None:
        return ProductsReport(name="torch", why="not known to be an x86 processor: what torch takes by itself")
    if not set(fields.get("flags", "").split()) >= AVX512:
        return ProductsReport(name="torch", why=f"{maker} without AVX-512: MKL is as wide as oneDNN")
    if maker == "GenuineIntel":
        return ProductsReport(name="torch", why=f"{maker} with AVX-512: MKL uses its full width, and costs less a call")
    return ProductsReport(name="onednn", why=f"{maker} with AVX-512: oneDNN uses its full width, MKL half of it")


def use_library(module: nn.Module, wanted: Library | None) -> Library | None:
    """Let the module use that library from now on; returns the one that it uses, None where it has no choice.

    `wanted` is None in studies from before there was a choice: they use oneDNN where it has AVX-512.
    """
    method = getattr(module, "use_products", None)
    if method is None:
        return None
    used: Any = method(wanted or "onednn")
    if used not in ("torch", "onednn"):
        raise TypeError(f"{type(module).__name__}.use_products() returned {used!r}, neither 'torch' nor 'onednn'")
    found: Library = used
    return found
