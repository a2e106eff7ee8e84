from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

TESTS = """
import subprocess, sys, threading
import pytest

def test_quick():
    assert 1 + 1 == 2

def test_process():
    subprocess.run([sys.executable, "-c", ""], check=True)

def test_process_whose_failure_is_caught():
    try:
        subprocess.run([sys.executable, "-c", ""], check=True)
    except BaseException:
        raise ValueError("no process") from None

def test_process_of_a_thread():
    thread = threading.Thread(target=subprocess.run, args=([sys.executable, "-c", ""],))
    thread.start()
    thread.join()

def test_torch():
    import torch

@pytest.mark.slow
def test_slow():
    raise AssertionError

def test_broken():
    raise AssertionError
"""


def test_quick_skips_processes_torch_and_slow_tests_and_nothing_else(tmp_path: Path) -> None:
    """A quick test passes or fails; each of the others is skipped with the reason."""
    shutil.copy(Path(__file__).parents[1] / "conftest.py", tmp_path)
    (tmp_path / "test_some.py").write_text(TESTS)
    (tmp_path / "test_all_of_torch.py").write_text("import torch\n\n\ndef test_one():\n    assert torch.ones(1)\n")
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = slow\n")
    command = [sys.executable, "-m", "pytest", "--quick", "-q", "-rs", "-p", "no:cacheprovider"]

    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert "1 failed, 1 passed, 6 skipped" in done.stdout, done.stdout
    skipped = Counter[str]()
    for count, reason in re.findall(r"SKIPPED \[(\d+)\] \S+: (.*)", done.stdout):
        skipped[reason] += int(count)
    assert skipped == {"starts a process": 3, "imports torch": 2, "slow": 1}
