"""The imports of each command, in a fresh interpreter."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {
    "torch",
    "optuna",
    "pandas",
    "numpy",
    "pyarrow",
    "scipy",
    "sklearn",
    "matplotlib",
    "altair",
    "vl_convert",
    "talib",
    "sqlalchemy",
}
LATER = {
    "cattrs",
    "rich",
    "pluggy",
    "attr",
    "attrs",
    "yaml",
    "packaging",
    "importlib.metadata",
    "scalecore.plugins.discovery",
}

UNUSED = {
    "packaging",
    "importlib.metadata",
    "email",
    "logging",
    "subprocess",
    "tempfile",
    "zipfile",
    "zoneinfo",
    "decimal",
    "scalecore.api.trials",
    "scalecore.api.readings",
    "scalecore.api.explanation",
    "scalecore.store.journal",
}
"""Modules that `check` does not need; importing them took a third of its time."""


def imported(*arguments: str, code: int = 0, folder: Path | None = None) -> set[str]:
    """Run `python -m scalecore` with these arguments and return all imported modules."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "scalecore", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
    )
    assert done.returncode == code, done.stderr
    return set(re.findall(r"^import time:.*\|\s+([\w.]+)$", done.stderr, re.MULTILINE))


@pytest.mark.parametrize(
    "arguments", [("--help",), ("--version",), ("run", "--help"), ("analyze", "--help"), ("check", "--help")]
)
def test_help_imports_almost_nothing(arguments: tuple[str, ...]) -> None:
    """No plugin, no module that is slow to import, and only click of the core's dependencies."""
    modules = imported(*arguments)

    assert "click" in modules
    assert modules & (HEAVY | LATER) == set()


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(("plugins", "--json"), 0), (("analyze",), 0), (("plugins", "--schema"), 0), (("check", "experiment.yaml"), 0)],
)
def test_commands_on_the_file_avoid_slow_imports(arguments: tuple[str, ...], code: int, tmp_path: Path) -> None:
    """All installed plugins are imported, without torch, optuna, pandas, numpy or pyarrow."""
    (tmp_path / "prices.csv").write_text("date,close\n2020-01-01,1.0\n")
    (tmp_path / "experiment.yaml").write_text(
        "name: startup\n"
        "dataset: {use: parquet, path: prices.csv, time: date, features: [close], target: {kind: direction}}\n"
        "model: linear\n"
        "search: {use: random, trials: 1}\n"
    )

    modules = imported(*arguments, code=code, folder=tmp_path)

    assert "scalecore.builtin.options" in modules
    assert modules & HEAVY == set()


def test_check_imports_only_what_it_uses(tmp_path: Path) -> None:
    """Plugins are found and options read without the libraries for rare forms of metadata."""
    (tmp_path / "prices.csv").write_text("date,close\n2020-01-01,1.0\n")
    (tmp_path / "experiment.yaml").write_text(
        "name: startup\n"
        "dataset: {use: parquet, path: prices.csv, time: date, features: [close], target: {kind: direction}}\n"
        "model: linear\n"
        "search: {use: random, trials: 1, budget: 1.5k}\n"
    )

    modules = imported("check", "experiment.yaml", folder=tmp_path)

    assert "scalecore.planning.check_names" in modules
    assert modules & UNUSED == set()


def test_an_invalid_file_is_reported_without_slow_imports(tmp_path: Path) -> None:
    """Problems of the file are reported before slow imports."""
    (tmp_path / "experiment.yaml").write_text("name: [")

    assert imported("check", "experiment.yaml", code=2, folder=tmp_path) & HEAVY == set()


def test_terminal_libraries_are_imported_for_terminals_only() -> None:
    """The logger `console` writes lines without them."""
    code = "import sys, scalecore.builtin.console; sys.exit('rich' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
