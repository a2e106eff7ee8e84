"""Run `pip install` with the versions of constraints.txt, except that of one library.

Usage: `install_except.py LIBRARY ARGUMENTS...`. The environments `cuda` and `pandas2` of tox have another
version of it, and pip cannot override a single line of a constraints file.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

PINS = Path(__file__).parents[1] / "constraints.txt"

if __name__ == "__main__":
    library, *arguments = sys.argv[1:]
    lines = PINS.read_text(encoding="utf-8").splitlines(keepends=True)
    others = [line for line in lines if not line.startswith(f"{library}==")]
    if len(others) != len(lines) - 1:
        sys.exit(f"{PINS.name} has no version of {library}")
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.writelines(others)
        file.flush()
        environment = {**os.environ, "PIP_CONSTRAINT": file.name}
        sys.exit(subprocess.call([sys.executable, "-m", "pip", "install", *arguments], env=environment))
