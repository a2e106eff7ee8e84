"""The imports of the fork server, which attempts then need not repeat."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable

from scalecore.execution.folder import AttemptFolder

SCRIPT = """
import json, os, sys
from scalecore_torch.worker import preload
preload()
before = set(sys.modules)
from scalecore_torch.worker import main
code = main(sys.argv[1], parent=os.getppid())
print(json.dumps({"code": code, "new": sorted(set(sys.modules) - before)}))
"""


def test_an_attempt_imports_nothing_but_plugins_after_the_fork(attempt: Callable[..., AttemptFolder]) -> None:
    """A whole training finds every module of scalecore, torch and their dependencies already imported."""
    folder = attempt("a", epochs=2)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(folder.path)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["code"] == 0
    # Plugins are loaded by each attempt: their code is not the server's, which must compute nothing.
    plugins = ("scalecore_torch.linear",)
    assert [name for name in found["new"] if not name.startswith(plugins)] == []
