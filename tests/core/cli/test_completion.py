"""Completion in a real shell."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from scalecore.cli.main import COMMANDS


def complete(typed: str, folder: Path) -> list[str]:
    """The completions that bash offers for the last word of a command line."""
    place = folder / "bin"
    if not place.exists():
        place.mkdir()
        script = place / "scalecore"
        code = "from scalecore.cli.main import main; main(prog_name='scalecore')"
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "{code}" "$@"\n')
        script.chmod(0o755)
    words = typed.split(" ")
    lines = [
        'eval "$(_SCALECORE_COMPLETE=bash_source scalecore)"',
        f"COMP_WORDS=({' '.join(word or chr(34) * 2 for word in words)})",
        f"COMP_CWORD={len(words) - 1}",
        "compopt() { :; }",  # works only while bash itself completes
        f"$(complete -p scalecore | sed 's/.*-F \\([^ ]*\\).*/\\1/') scalecore '{words[-1]}' '{words[-2]}'",
        'printf "%s\\n" "${COMPREPLY[@]}"',
    ]
    done = subprocess.run(
        [str(shutil.which("bash")), "-c", "\n".join(lines)],
        cwd=folder,
        env={**os.environ, "PATH": f"{place}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash here")
def test_bash_completes_commands_and_options(tmp_path: Path) -> None:
    """Commands come from the table; only the typed command is imported."""
    assert [name for name in complete("scalecore ", tmp_path) if name in COMMANDS] == list(COMMANDS)
    assert complete("scalecore pl", tmp_path) == ["plan", "plugins"]
    assert complete("scalecore run --dr", tmp_path) == ["--dry-run"]
    assert complete("scalecore init --purpose fore", tmp_path) == ["forecast"]


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash here")
def test_after_an_unknown_command_the_commands_are_offered(tmp_path: Path) -> None:
    """No traceback appears on the command line."""
    assert set(COMMANDS) <= set(complete("scalecore pln ", tmp_path))
