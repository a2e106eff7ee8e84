"""Definitions shared by the script that created the old studies and by their tests."""

from __future__ import annotations

from pathlib import Path

MARKER = "@PROJECT@"
"""Placeholder in the files for the folder in which the studies were created."""

TEXTS = (".json", ".jsonl", ".yaml", ".md", ".csv", ".txt")

PORTABLE = {
    "ATEN_CPU_CAPABILITY": "default",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
    "MKL_CBWR": "COMPATIBLE",
    "OMP_NUM_THREADS": "1",
}
"""Kernels that every x86-64 processor has, so that weights are bit-identical on all of them."""


def vendor() -> str:
    """The processor's vendor, or `unknown`."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return "unknown"
    return next((line.split(":")[1].strip() for line in lines if line.startswith("vendor_id")), "unknown")
