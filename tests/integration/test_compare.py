"""The recipe of the docs: a search against a fixed configuration, both confirmed, compared by window."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from scalecore.api.files import read_json
from scalecore.api.predictions import trial_predictions
from scalecore.api.trials import StudyView
from scalecore.cli.main import main
from scalecore.store.layout import StudyFolder
from scalecore.views.read_study import read_study

from .conftest import Study, tiny_experiment

SEEDS = 3


def command(*arguments: str) -> Result:
    found = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert found.exit_code == 0, found.output
    return found


@pytest.fixture(scope="module")
def studies(bars: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The folders of a search of two trials, the same with one feature, and a fixed configuration with one trial.

    Only the first and the last are confirmed.
    """
    root = tmp_path_factory.mktemp("compared")
    base = tiny_experiment(bars)
    space = {"learning_rate": base["search"]["space"]["learning_rate"]}
    search = {"use": "random", "budget": 4000, "tolerance": 0.6, "trials": 2, "space": space}
    one_feature = {**base["dataset"], "features": ["Close"]}
    one_shape = {**base["model"], "d_model": [8], "n_layers": [1], "n_heads": [2], "d_ff_ratio": [2]}
    fixed = {**base["training"]["hyperparameters"], "learning_rate": 3e-3}
    experiments: dict[str, dict[str, Any]] = {
        "searched": {"search": search},
        "narrow": {"search": search, "dataset": one_feature},
        "usual": {
            "search": {"use": "random", "trials": 1},
            "model": one_shape,
            "training": {**base["training"], "hyperparameters": fixed},
        },
    }
    folders = {}
    for name, changes in experiments.items():
        study = Study(root / name, {**base, "name": name, "loggers": ["console"], **changes})
        study.root.mkdir()
        study.run()
        folders[name] = study.folder
    for name in ("searched", "usual"):
        command("confirm", str(folders[name]), "--top", "1", "--seeds", str(SEEDS))
    return folders


def losses_of(view: StudyView) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The stored losses of the replicates [seeds, windows]."""
    kept = [trial_predictions(view.folder, record) for record in view.confirmations]
    return np.stack([one.losses() for one in kept if one is not None])


def test_a_search_is_compared_with_the_configuration_that_everybody_uses(
    studies: dict[str, Path], tmp_path: Path
) -> None:
    """By the recipe of the docs; the difference is that of the stored predictions of the replicates."""
    shown = command("analyze", "compare", str(studies["searched"]), str(studies["usual"]), "--output", str(tmp_path))
    assert "Search (random, 2 trials) against the fixed configuration (" in shown.output
    (row,) = read_json(tmp_path / "result.json")["data"]["comparisons"]
    searched, usual = (losses_of(read_study(StudyFolder(studies[name]))) for name in ("searched", "usual"))
    assert searched.shape == usual.shape == (SEEDS, row["windows"])
    assert row["difference"] == pytest.approx(searched.mean() - usual.mean())
    assert (row["study"], row["reference"], row["fresh"]) == ("searched", "usual", True)
    assert row["low"] < row["difference"] < row["high"]
    assert (tmp_path / "compare.html").is_file()


def test_feature_sets_are_compared_on_equal_labels(studies: dict[str, Path], tmp_path: Path) -> None:
    """Their data differ and their labels do not, as the stored predictions show; one lacks fresh seeds."""
    command("analyze", "compare", str(studies["searched"]), str(studies["narrow"]), "--output", str(tmp_path))
    found = read_json(tmp_path / "result.json")
    assert found["summary"][1].startswith("2 against 1 features: val_loss ")
    assert [row["features"] for row in found["tables"]["Loss against number of features"]] == [1, 2]
    (missing,) = found["tables"]["Missing for a verdict"]
    assert missing["command"] == f"scalecore confirm {studies['narrow']} --top 1 --seeds 5"
    assert found["data"]["comparisons"][0]["verdict"] == "inconclusive"
