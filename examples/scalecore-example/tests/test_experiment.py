"""The experiment of the package, run to its end as a user runs it."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parents[1]


def test_the_data_are_those_of_the_script() -> None:
    """`echo.csv` can be made again, to the last digit."""
    namespace = runpy.run_path(str(HERE / "make_data.py"), run_name="make_data")
    assert namespace["table"]() == (HERE / "echo.csv").read_text()


def test_the_experiment_runs_to_its_end(tmp_path: Path) -> None:
    """Every trial completes and is in the table; children of good trials follow the first population; what was learnt
    beats every baseline.
    """
    study = tmp_path / "study"
    done = subprocess.run(
        [sys.executable, "-m", "scalecore", "run", str(HERE / "experiment.yaml"), f"output={study}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "degraded" not in done.stdout
    trials = [json.loads(path.read_text()) for path in sorted((study / "trials").glob("*.json"))]
    assert [trial["state"] for trial in trials] == ["completed"] * 8
    for trial in trials:
        c, levels, kernel = (trial["architecture"][name] for name in ("channels", "levels", "kernel"))
        counted = (kernel * c + c) + (2 * levels - 1) * (kernel * c * c + c) + (c + c) + c + 1
        assert trial["architecture"]["param_count"] == counted
    rows = [line for line in (study / "results.md").read_text().splitlines() if line.startswith("| ")][1:]
    assert [row.split(" | ")[0] for row in rows] == [f"| {number}" for number in range(8)]
    assert [row.split(" | ")[-1].startswith("trial ") for row in rows] == [False] * 4 + [True] * 4
    assert sum("**" in row for row in rows) == 1
    assert "  better than the best baseline" in done.stdout
