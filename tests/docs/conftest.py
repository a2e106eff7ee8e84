"""The documentation as text, and the files in its code blocks."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def markdown_files() -> list[Path]:
    """Every Markdown file of the project."""
    places = [ROOT.glob("*.md"), *((ROOT / part).rglob("*.md") for part in ("docs", "examples", "packages", "tests"))]
    return sorted(path for found in places for path in found if ".pytest_cache" not in path.parts)


def blocks(path: Path, language: str) -> list[str]:
    """The code blocks of a language, in order."""
    return [body for name, body in _BLOCK.findall(path.read_text(encoding="utf-8")) if name == language]


def files(path: Path) -> list[tuple[str, str]]:
    """Name and content of the code blocks whose first line is a comment with a file name."""
    text = path.read_text(encoding="utf-8")
    found = [(re.match(r"# ([\w./-]+\.(?:py|toml|yaml))\n", body), body) for _, body in _BLOCK.findall(text)]
    return [(match[1], body) for match, body in found if match is not None]


def prose(path: Path) -> str:
    """The text without its code blocks."""
    return _BLOCK.sub("", path.read_text(encoding="utf-8"))


def scalecore(
    *arguments: str, folder: Path, path: tuple[Path, ...] = (), timeout: float = 300.0
) -> subprocess.CompletedProcess[str]:
    """Run a command in a separate process, with these folders on PYTHONPATH."""
    entries = [*map(str, path), *filter(None, [os.environ.get("PYTHONPATH")])]
    return subprocess.run(
        [sys.executable, "-m", "scalecore", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(entries), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


@pytest.fixture(scope="session")
def handbook() -> dict[str, str]:
    """The files of `docs/` by relative path."""
    folder = ROOT / "docs"
    return {
        path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8") for path in sorted(folder.rglob("*.md"))
    }
