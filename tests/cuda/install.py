"""`pip install` with the versions of constraints.txt, except of torch: the environment `cuda` has another one."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

PINS = Path(__file__).parents[2] / "constraints.txt"

if __name__ == "__main__":
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as others:
        others.writelines(line for line in PINS.open() if not line.startswith("torch=="))
        others.flush()
        environment = {**os.environ, "PIP_CONSTRAINT": others.name}
        sys.exit(subprocess.call([sys.executable, "-m", "pip", "install", *sys.argv[1:]], env=environment))
