"""What every benchmark prints: a table, the machine and the versions it ran with, and the same as JSON when asked."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

__all__ = ["arguments", "machine", "show"]

LIBRARIES = ("torch", "optuna", "numpy", "scipy", "pandas", "scalecore")


def arguments(description: str | None) -> argparse.ArgumentParser:
    """The options that all benchmarks share: `--short`, `--json PATH`."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help="few repetitions and small sizes: shows that it works")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the result there as JSON")
    return parser


def machine() -> dict[str, Any]:
    """Processor, cores this process may use, load, memory in GiB, system, and versions of what was measured."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "load_1min": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "memory_gib": _memory_gib(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        **{name: found for name in LIBRARIES if (found := _version(name)) is not None},
    }


def show(
    title: str,
    rows: Sequence[Mapping[str, Any]],
    *,
    notes: Sequence[str] = (),
    path: Path | None = None,
) -> None:
    """Print `rows` as a table whose columns are the keys of the first; write all as JSON to `path`."""
    columns = list(rows[0]) if rows else []
    texts = [[_text(row.get(column)) for column in columns] for row in rows]
    widths = [max(len(name), *(len(line[at]) for line in texts)) for at, name in enumerate(columns)]
    print(f"\n{title}\n")
    for line in [columns, ["-" * width for width in widths], *texts]:
        print("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())
    about = machine()
    command = shlex.join(["python", *sys.argv])
    print()
    for note in notes:
        print(note)
    print(", ".join(f"{name} {value}" for name, value in about.items()))
    print(f"command: {command}")
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        content = {"title": title, "command": command, "machine": about, "notes": list(notes), "rows": list(rows)}
        path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _text(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _memory_gib() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1024**3, 1)
    except (ValueError, OSError, AttributeError):
        return None
