"""The script of docs/migrating.md runs, the experiment file takes its place, and its results teach the new study."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import ROOT, files, scalecore

PAGE = ROOT / "docs" / "migrating.md"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both files of the page and the data, after the script has run."""
    place = tmp_path_factory.mktemp("migrating")
    shutil.copy(ROOT / "examples" / "data" / "spy_daily.parquet", place)
    for name, text in files(PAGE):
        (place / name).write_text(text)
    done = subprocess.run(
        [sys.executable, "before.py"],
        cwd=place,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return place


def test_the_old_results_get_a_verdict_each(folder: Path) -> None:
    """What ran is taken where it fits, what the budget pruned is refused, and nothing is believed without a look."""
    old = json.loads((folder / "old.json").read_text())
    ran = [trial for trial in old if trial["state"] == "COMPLETE"]
    assert 0 < len(ran) < len(old)
    done = scalecore("import", "old.json", "--into", "after.yaml", "--dry-run", "--json", folder=folder)
    assert done.returncode == 0, done.stderr
    verdicts, summary = (json.loads(done.stdout)[name] for name in ("records", "summary"))
    assert len(verdicts) == len(old) == summary["trials"]
    assert {one["verdict"] for one in verdicts} == {"taken", "refused"}
    assert sum(one["verdict"] == "taken" for one in verdicts) <= len(ran)
    assert not (folder / "studies").exists()


def test_the_experiment_file_runs_on_them(folder: Path) -> None:
    """A short trial of it, which counts, beside the imported ones, which do not."""
    file = folder / "after.yaml"
    file.write_text(file.read_text().replace("epochs: 8", "epochs: 1").replace("trials: 10", "trials: 1"))
    for arguments in (["import", "old.json", "--into", "after.yaml"], ["run", "after.yaml"]):
        done = scalecore(*arguments, folder=folder)
        assert done.returncode == 0, done.stdout + done.stderr
    status = json.loads(scalecore("status", "after.yaml", "--json", folder=folder).stdout)
    assert status["counts"] == {"completed": 1}
