"""The commands that this package adds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from scalecore.cli.main import main


@pytest.mark.parametrize("name", ["evaluate", "predict"])
def test_help_imports_nothing_heavy(name: str) -> None:
    """`--help` imports neither torch nor the code of the command."""
    code = f"import sys; from scalecore.cli.main import main; main([{name!r}, '--help'], standalone_mode=False); "
    code += "print({'torch', 'numpy', 'pandas', 'pluggy', 'scalecore_promotion.evaluate'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("Usage: ")
    assert done.stdout.endswith("\nset()\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["model"], "Error: give either DATA or --dataset KEY=VALUE"),
        (["model", "a.csv", "--dataset", "file=b"], "Error: give either DATA or --dataset KEY=VALUE"),
        (
            ["model", "--dataset", "file=b", "--time", "t"],
            "Error: --time applies to DATA only; write --dataset time=COLUMN",
        ),
        (["model", "a.csv", "--output", "a.txt"], "Error: --output a.txt: the suffix must be .parquet or .csv"),
        (["model", "a.csv"], "model: no retrained model here (no valid model.json)"),
    ],
)
def test_predict_refuses_invalid_arguments(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One message, exit code 2."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model").mkdir()
    done = CliRunner().invoke(main, ["predict", *arguments])
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.splitlines()[-1] == message


def test_evaluate_refuses_a_folder_without_a_study(tmp_path: Path) -> None:
    """One message, and nothing is written."""
    done = CliRunner().invoke(main, ["evaluate", str(tmp_path)])
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == (
        f"{tmp_path}: no study here (there is no {tmp_path}/journal.jsonl); start one with `scalecore run`\n"
    )
    assert list(tmp_path.iterdir()) == []
