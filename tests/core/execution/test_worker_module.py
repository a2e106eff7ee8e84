"""The main module of an attempt's process, started directly."""

from __future__ import annotations

import subprocess
import sys


def test_the_frame_alone_says_what_to_start() -> None:
    """An executor for 0.1 starts it: it must not end as if successful."""
    command = [sys.executable, "-m", "scalecore.execution.worker", "folder", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    text = "scalecore.execution.worker does not train: start the module named by `ExecutorContext.worker`"
    assert done.stderr.strip().splitlines()[-1] == text
