"""Make the pictures of the README: a terminal at the end of the quickstart, and a figure of its report.

`.venv/bin/python .ci/make_pictures.py`, with all packages installed; about two minutes on two cores. It runs
examples/quickstart.yaml in a pseudo-terminal and writes two SVG files to docs/assets.
"""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import termios
from pathlib import Path

import pyte
from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

ROOT = Path(__file__).parents[1]
ASSETS = ROOT / "docs" / "assets"
COMMAND = "scalecore run examples/quickstart.yaml"
FIGURE = "Validation-loss-by-epoch.svg"
COLUMNS, ROWS = 110, 500
SHOWN = re.compile(r"data: |baselines, |search: |trial [012789]  |quickstart: completed|best: |results: ")
"""Beginnings of the lines in the picture. Indented and wrapped lines follow the line before them."""
HIDDEN = re.compile(r"  (trial \d+ of|volatility|flag )")
"""Indented lines that are left out."""


def main() -> None:
    """Run the quickstart in a temporary folder, then write both pictures."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copytree(ROOT / "examples", folder / "examples")
        lines = shortened(run_in_terminal(folder))
        (ASSETS / "quickstart-terminal.svg").write_text(terminal(lines), encoding="utf-8")
        report = [sys.executable, "-m", "scalecore", "analyze", "report", "studies/quickstart", "figures=[svg]"]
        subprocess.run(report, cwd=folder, check=True, stdout=subprocess.DEVNULL)
        figure = folder / "studies" / "quickstart" / "analyses" / "report" / FIGURE
        shutil.copy(figure, ASSETS / "quickstart-report.svg")


def run_in_terminal(folder: Path) -> list[str]:
    """The lines on the screen after the run; the screen is tall enough that nothing scrolls."""
    process, terminal = pty.fork()
    if process == 0:
        os.chdir(folder)
        os.environ["TERM"] = "xterm-256color"
        os.execv(sys.executable, [sys.executable, "-m", *COMMAND.split()])
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    screen = pyte.Screen(COLUMNS, ROWS)
    stream = pyte.ByteStream(screen)
    while True:
        try:
            stream.feed(os.read(terminal, 65536))
        except OSError:  # Linux reports the end of a terminal as an error
            break
    _, status = os.waitpid(process, 0)
    if os.waitstatus_to_exitcode(status) != 0:
        raise SystemExit("\n".join(screen.display).strip())
    return [line.rstrip().replace(f"{folder}/", "") for line in screen.display]


def shortened(lines: list[str]) -> list[str]:
    """The lines of the picture, with `...` where others were."""
    kept: list[str] = []
    shown = False
    for line in lines:
        shown = bool(SHOWN.match(line)) or (shown and line.startswith("  ") and not HIDDEN.match(line))
        kept += [line] if shown else ["..."] if kept and kept[-1] != "..." else []
    while kept[-1] == "...":
        kept.pop()
    return [f"$ {COMMAND}", *kept]


def terminal(lines: list[str]) -> str:
    """An SVG of a terminal, without the font that rich would fetch from another host."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO())
    for line in lines:
        bold = line.startswith(("$ ", "best: ", "  better "))
        console.print(Text(line, style="bold" if bold else ""), overflow="ignore", no_wrap=True)
    svg = console.export_svg(title="scalecore", theme=MONOKAI)
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
    return re.sub(r"font-family: Fira Code, monospace", "font-family: ui-monospace, Menlo, Consolas, monospace", svg)


if __name__ == "__main__":
    main()
