"""The commands of this package, `scalecore report` and `scalecore import`."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from scalecore.api.trials import StudyView
from scalecore.cli.main import main
from scalecore.plugins.registry import load_registry
from scalecore_analysis.options import CrossBudgetOptions

from .conftest import trial


def run_cli(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments, prog_name="scalecore")


@pytest.fixture
def kept(study: Callable[..., StudyView], write_study: Callable[..., Path]) -> Path:
    """A stored study of two trials, in a folder with a name like an option of an analysis."""
    return write_study(study([trial(0, 0.6), trial(1, 0.5)], name="a=b"))


@pytest.mark.slow
def test_report_runs_the_analysis_report(kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It prints and stores the same as `analyze report`, also with a relative path."""
    monkeypatch.chdir(kept.parent)
    done = run_cli("report", kept.name)
    assert done.exit_code == 0, done.stderr
    assert done.stdout.startswith("# Report\n\n- a=b: 2 of 9 trials finished")
    assert f"written to {kept}/analyses/report: " in done.stdout
    as_json = run_cli("report", kept.name, "--json", "--output", str(tmp_path / "elsewhere"))
    analysed = run_cli("analyze", "report", str(kept), "--json", "--no-files")
    assert json.loads(as_json.stdout) | {"made": ""} == json.loads(analysed.stdout) | {"made": ""}
    assert json.loads((tmp_path / "elsewhere" / "result.json").read_text()) == json.loads(as_json.stdout)


@pytest.mark.parametrize("blocked", [("--no-plugins",), ("--block", "scalecore-analysis")])
def test_report_without_the_analysis_is_refused(kept: Path, blocked: tuple[str, ...]) -> None:
    """The command exists, but its analysis is blocked."""
    done = run_cli("report", str(kept), *blocked)
    assert done.exit_code == 3
    assert done.stderr.startswith("analysis 'report' ")


def test_report_refuses_an_unexpanded_variable_as_folder(kept: Path) -> None:
    """A variable that no shell expanded is a wrong command line."""
    done = run_cli("report", str(kept), "--output", "a/$HERE")
    assert done.exit_code == 2
    assert done.stderr.endswith("'a/$HERE': the variable $HERE was not expanded; write its value\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["old.json"], "Error: Missing option '--into'."),
        (["--into", "experiment.yaml"], "Error: Missing argument 'PATH...'."),
        (
            ["old.json", "--into", "empty"],
            "empty: not a study; name an experiment file to create a study from these results",
        ),
        (["old.json", "--into", "none.yaml"], "none.yaml: there is no such file"),
        (["none.json", "--into", "empty"], "none.json: there is no such file or folder"),
    ],
)
def test_import_refuses_what_it_cannot_read(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One message, exit code 2, and no file is written."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "old.json").write_text("[]")
    before: list[Any] = sorted(tmp_path.rglob("*"))
    done = run_cli("import", *arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.splitlines()[-1] == message
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("name", ["report", "import"])
def test_help_imports_nothing_heavy(name: str) -> None:
    """`--help` does not even import the analyses of this package."""
    code = f"import sys; from scalecore.cli.main import main; main([{name!r}, '--help'], standalone_mode=False); "
    code += "print({'numpy', 'scipy', 'altair', 'pandas', 'pluggy', 'scalecore_analysis.plugin'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("Usage: ")
    assert done.stdout.endswith("\nset()\n")


@pytest.mark.parametrize("name", ["cross-budget", "scalecore-promotion/cross-budget", "scalecore/cross-budget"])
def test_the_analysis_is_found_by_current_and_former_names(name: str) -> None:
    """A study of 0.1 may name the distribution that provided it then."""
    found = load_registry().get("analysis", name)
    assert (found.provider, found.record.options) == ("scalecore-analysis", CrossBudgetOptions)


def test_confirm_refuses_a_folder_without_a_study(tmp_path: Path) -> None:
    """One message, and nothing is written."""
    done = CliRunner().invoke(main, ["confirm", str(tmp_path)])
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == (
        f"{tmp_path}: no study here (there is no {tmp_path}/journal.jsonl); start one with `scalecore run`\n"
    )
    assert list(tmp_path.iterdir()) == []
