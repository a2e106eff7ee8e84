"""What the maker of the old studies and their tests share."""

from __future__ import annotations

from pathlib import Path

MARKER = "@PROJECT@"
"""Stands in the files for the folder in which the studies were made."""

TEXTS = (".json", ".jsonl", ".yaml", ".md", ".csv", ".txt")

PORTABLE = {
    "ATEN_CPU_CAPABILITY": "default",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
    "MKL_CBWR": "COMPATIBLE",
    "OMP_NUM_THREADS": "1",
}
"""Kernels that every x86-64 processor has, so that weights are the same to the last bit on all of them."""


def vendor() -> str:
    """The processor's vendor, `unknown` where Linux does not say."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return "unknown"
    return next((line.split(":")[1].strip() for line in lines if line.startswith("vendor_id")), "unknown")
