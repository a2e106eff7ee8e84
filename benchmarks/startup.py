"""What commands cost before their first result: CPU as a multiple of `import torch`, and the time to the first line.

Run on examples/spy-quickstart.yaml, with all packages installed, in interleaved rounds. CPU is that of the command and
the processes that it waited for; the time to the first byte on the standard output is the shortest of the rounds.
"""

from __future__ import annotations

import itertools
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import report

FILE = Path(__file__).parents[1] / "examples" / "spy-quickstart.yaml"
COMMANDS: dict[str, list[str]] = {
    "import torch": ["-c", "import torch; print()"],
    "scalecore --help": ["-m", "scalecore", "--help"],
    "scalecore check": ["-m", "scalecore", "check", str(FILE)],
    "scalecore plan": ["-m", "scalecore", "plan", str(FILE)],
}
GOAL = 0.5
"""Seconds to the first line on a machine that does nothing else."""


def once(arguments: list[str], folder: Path) -> tuple[float, float]:
    """CPU seconds of a command, and seconds to its first byte."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    with subprocess.Popen([sys.executable, *arguments], cwd=folder, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        os.read(process.stdout.fileno(), 1)
        first = time.perf_counter() - began
        process.stdout.read()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert process.returncode == 0, arguments
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, first


def main() -> None:
    """Measure every command."""
    settings = report.arguments(__doc__).parse_args()
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in COMMANDS}
    with tempfile.TemporaryDirectory() as folder:
        for _, name in itertools.product(range(2 if settings.short else 5), COMMANDS):
            found[name].append(once(COMMANDS[name], Path(folder)))
    torch = statistics.median(cpu for cpu, _ in found["import torch"])
    rows: list[dict[str, Any]] = []
    for name, runs in found.items():
        cpu = statistics.median(one for one, _ in runs)
        row = {"command": name, "CPU s": round(cpu, 2), "of import torch": round(cpu / torch, 2)}
        rows.append({**row, "first line s": round(min(first for _, first in runs), 2)})
    notes = [f"Goal: the first line of `plan` within {GOAL:g} s on an idle machine. `run` begins like `plan`."]
    report.show("Start-up of the commands on examples/spy-quickstart.yaml", rows, notes=notes, path=settings.json)


if __name__ == "__main__":
    main()
