"""The pages for users of other tools. The Optuna script runs, and its results warm-start the study of the page."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from .conftest import ROOT, blocks, files, scalecore

OPTUNA, HYDRA, LIGHTNING = (ROOT / "docs" / f"coming-from-{name}.md" for name in ("optuna", "hydra", "lightning"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both files of the page and the data, after the script has run."""
    place = tmp_path_factory.mktemp("optuna")
    shutil.copy(ROOT / "examples" / "data" / "spy_daily.parquet", place)
    for name, text in files(OPTUNA):
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
    """Trials that ran and fit are imported; those that the budget pruned are refused."""
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
    """A short trial counts; the imported ones do not."""
    file = folder / "after.yaml"
    file.write_text(file.read_text().replace("epochs: 8", "epochs: 1").replace("trials: 10", "trials: 1"))
    for arguments in (["import", "old.json", "--into", "after.yaml"], ["run", "after.yaml"]):
        done = scalecore(*arguments, folder=folder)
        assert done.returncode == 0, done.stdout + done.stderr
    status = json.loads(scalecore("status", "after.yaml", "--json", folder=folder).stdout)
    assert status["counts"] == {"completed": 1}


def test_the_campaign_for_hydra_users_has_the_studies_of_the_page(tmp_path: Path) -> None:
    """The output is that of `check`, which accepts and refuses overrides as in the table."""
    shutil.copy(ROOT / "examples" / "data" / "spy_daily.parquet", tmp_path)
    (text,) = blocks(HYDRA, "yaml")
    (tmp_path / "spy.yaml").write_text(text)
    done = scalecore("check", "spy.yaml", folder=tmp_path)
    assert f"$ scalecore check spy.yaml\n{done.stdout.splitlines()[0]}\n" in HYDRA.read_text(encoding="utf-8")
    for override, code in (
        ("search.trials=2", 0),
        ("model=linear", 0),
        ("sweep={seed: [1, 2]}", 0),
        ("training.early_stopping=null", 0),
        ("search.budget=20k", 2),
        ("+search.trials=2", 2),
        ("~search.trials", 2),
    ):
        done = scalecore("check", "spy.yaml", override, folder=tmp_path)
        assert done.returncode == code, done.stdout + done.stderr


def test_the_code_for_lightning_users_is_that_of_the_example() -> None:
    """tests/lightning runs the example."""
    folder = ROOT / "examples" / "lightning-trainer"
    (code,), (piece,) = (blocks(LIGHTNING, language) for language in ("python", "text"))
    assert textwrap.indent(code, "    ") in (folder / "train.py").read_text(encoding="utf-8")
    assert piece in (folder / "experiment.yaml").read_text(encoding="utf-8")
