"""A new environment in which plugin packages are installed, on top of the packages of this one."""

from __future__ import annotations

import os
import site
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Sequence
from pathlib import Path

import pytest
from attrs import frozen

ROOT = Path(__file__).parents[2]


@frozen
class Environment:
    """A virtual environment that includes all packages of this one."""

    folder: Path

    @property
    def python(self) -> str:
        return str(self.folder / "bin" / "python")

    def install(self, *packages: Path) -> None:
        """`pip install --editable` with the installed build backend and dependencies; nothing is downloaded."""
        pip = [sys.executable, "-m", "pip", "--python", self.python, "--disable-pip-version-check", "--quiet"]
        options = ["install", "--no-index", "--no-deps", "--no-build-isolation"]
        editable = [part for package in packages for part in ("--editable", str(package))]
        done = subprocess.run([*pip, *options, *editable], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    def run(self, module: str, *arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
        """Run `python -m MODULE ARGUMENTS` in `folder`."""
        return subprocess.run(
            [self.python, "-m", module, *arguments],
            cwd=folder,
            env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )


def make_environment(folder: Path, outer: Sequence[str]) -> Environment:
    """Create it without pip, in a tenth of a second; `outer` are further folders of packages."""
    venv.create(folder, symlinks=True)
    own = Path(sysconfig.get_path("purelib", "venv", {"base": str(folder), "platbase": str(folder)}))
    # addsitedir reads the .pth files in them, so that editable installs are found too.
    (own / "outer.pth").write_text("".join(f"import site; site.addsitedir({path!r})\n" for path in outer))
    return Environment(folder)


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """One environment for all tests, since each package has another name."""
    return make_environment(tmp_path_factory.mktemp("environment"), site.getsitepackages())
