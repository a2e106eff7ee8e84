"""The training code in docs/training.md runs unchanged."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from .conftest import ROOT, files, scalecore

PAGE = ROOT / "docs" / "training.md"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of the page, with the data of the examples."""
    place = tmp_path_factory.mktemp("training")
    shutil.copy(ROOT / "examples" / "data" / "spy_daily.parquet", place)
    for name, text in files(PAGE):
        (place / name).write_text(text)
    return place


def test_the_code_of_the_page_trains_a_study(folder: Path) -> None:
    """`check` and a run of one trial work, and the record names the code."""
    assert scalecore("check", "experiment.yaml", folder=folder).returncode == 0
    done = scalecore("run", "experiment.yaml", "search.trials=1", folder=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = (folder / "studies" / "my-training" / "trials").glob("*.json")
    attributes = json.loads(path.read_text())["user_attrs"]
    assert len(attributes["versions"]["my_training.py"]) == 12
    assert all(0 <= line["hit_rate"] <= 1 for line in attributes["learning_curve"])


def test_the_loss_of_the_page_is_of_its_task(folder: Path) -> None:
    """It is refused for another target."""
    done = scalecore("check", "experiment.yaml", "dataset.target={kind: forward_return}", folder=folder)
    assert done.returncode == 2
    assert "my_training.py:CostSensitive is for a binary task, but the target is a forecast" in done.stderr
