"""Each experiment file of the repository passes `check` and runs; each piece in the documentation passes `check`."""

from __future__ import annotations

import ast
import importlib
import json
import math
import re
import runpy
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from .conftest import ROOT, blocks, files, markdown_files, scalecore

MISSING_EXTRA = re.compile(r"which is not installed; `pip install 'scalecore-trackers\[\w+\]'` provides it$")
EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))
BOUND = -(0.15 * math.log(0.15) + 0.85 * math.log(0.85))
"""The least possible loss on the data of the quickstart: the entropy of the flipped labels."""


def test_there_are_examples() -> None:
    """The quickstart is one of them."""
    assert "quickstart.yaml" in [path.name for path in EXAMPLES]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_passes_the_check(path: Path) -> None:
    """From any working directory."""
    done = scalecore("check", str(path), folder=ROOT)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{path}: ok")


@pytest.mark.parametrize("path", [one for one in EXAMPLES if one.stem != "spy-matrix"], ids=lambda path: path.name)
def test_an_example_can_be_planned(path: Path, tmp_path: Path) -> None:
    """Nothing refuses a run, apart from the memory of a machine. Nothing is written."""
    done = scalecore("plan", str(path), "monitors=[]", "--json", folder=tmp_path)
    assert (done.returncode, json.loads(done.stdout).get("refused")) in ((0, None), (0, {})), done.stderr
    assert not list(tmp_path.iterdir())


def test_the_matrix_is_that_of_the_original_study(tmp_path: Path) -> None:
    """Twelve studies of 50 trials, with as many architectures in each budget as the original study counted."""
    done = scalecore("plan", str(ROOT / "examples" / "spy-matrix.yaml"), "monitors=[]", "--json", folder=tmp_path)
    studies = json.loads(done.stdout)["studies"]
    found = {label: (one["architectures"]["feasible"], one["trials"]) for label, one in studies.items()}
    counted = {"2M": 80, "20M": 75, "200M": 125, "2B": 75}
    assert found == {f"budget-{size}_horizon-{h}": (count, 50) for size, count in counted.items() for h in (1, 3, 5)}
    for label, one in studies.items():
        assert (len(one["data"]["features"]), one["data"]["context"]) == (25, 60)
        target = one["data"]["target"]
        assert (target["horizon"], target["threshold"], target["price"]) == (int(label[-1]), 0.01, "high")
        # The precondition `samples` of a verdict is met before anything is trained.
        validation = one["data"]["split"]["parts"]["val"]
        assert validation["effective"] >= 100
        assert validation["effective_rarest"] >= 20


SHORT = {
    "spy-parquet": ["training.hyperparameters={epochs: 1, warmup_steps: 5}"],
    "spy-quickstart": ["training.hyperparameters={epochs: 1, warmup_steps: 5}"],
    "spy-campaign": ["training.hyperparameters={epochs: 1, warmup_steps: 5}", "--only", "budget-20k_horizon-1"],
    "scaling-quick": ["training.hyperparameters.epochs=1", "--only", "budget-1k_target-1"],
    # Few windows and flat shapes: this is the study of days.
    "spy-2m-h1": [
        "dataset.start=2014-01-02",
        "dataset.split.purge=60",
        "search.exclude=[n_layers > 3]",
        "search.space={learning_rate: {log_uniform: [1e-4, 1e-3]}, epochs: {choice: [1, 2]}}",
        "training.hyperparameters.warmup_steps=1",
    ],
}
"""Overrides that shorten an example to seconds. test_commands.py runs the quickstart, shortened too; spy-matrix.yaml is
spy-2m-h1.yaml with other budgets and horizons, and would take weeks."""


def test_every_other_example_runs_in_a_test() -> None:
    """Only the two examples named above have no overrides."""
    assert {path.stem for path in EXAMPLES} == {*SHORT, "quickstart", "spy-matrix"}


@pytest.mark.parametrize("path", [one for one in EXAMPLES if one.stem in SHORT], ids=lambda path: path.name)
def test_an_example_runs(path: Path, tmp_path: Path) -> None:
    """One trial completes."""
    done = scalecore("run", str(path), "search.trials=1", *SHORT[path.stem], folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "completed (1 of 1 trials: 1 completed)" in done.stdout
    assert (tmp_path / "studies").is_dir()


def test_the_data_of_the_quickstart_follow_the_known_rule() -> None:
    """The script writes the committed table, and the rule is wrong on exactly 3 days of every 20."""
    script = runpy.run_path(str(ROOT / "examples" / "data" / "make_switches.py"))
    table = pd.read_csv(ROOT / "examples" / "data" / "switches.csv", index_col="date", parse_dates=True)
    pd.testing.assert_frame_equal(script["switches"](script["SEED"]), table, check_freq=False)
    rule = table["left"].shift(3) != table["right"].shift(13)
    wrong = (rule != table["lamp"].astype(bool))[20:].to_numpy()
    assert set(wrong.reshape(-1, 20).sum(axis=1)) == {3}
    assert f"{BOUND:.3f}" in (ROOT / "examples" / "quickstart.yaml").read_text()


def test_the_data_of_the_scaling_example_follow_the_known_law() -> None:
    """The script writes the committed table, and the least losses that it states are those of the best models."""
    script = runpy.run_path(str(ROOT / "examples" / "data" / "make_load.py"))
    table = pd.read_parquet(ROOT / "examples" / "data" / "load.parquet")
    pd.testing.assert_frame_equal(script["load"](script["SEED"]), table, check_freq=False)
    drivers = table.filter(like="driver").to_numpy(dtype=float)
    season = np.arctan2(table["season_sin"], table["season_cos"]).to_numpy(dtype=float)
    random = np.random.default_rng(0)
    for days, width in ((1, 24), (1, 8), (5, 24), (5, 8)):
        # What `width` combinations say: the sum of the drivers, and the squares of their projections.
        projected = drivers @ np.linalg.qr(random.standard_normal((24, width)))[0]
        known = (drivers.sum(axis=1) + (projected**2).sum(axis=1) - width) / np.sqrt(3 * 24)
        phases = season[:, None] + 2 * np.pi / script["SEASON"] * np.arange(1, days + 1)
        expected = (np.cos(phases) + np.cos(2 * phases) / 2).mean(axis=1) + known / days
        errors = (table[f"load_{days}"].to_numpy(dtype=float) - expected) ** 2
        assert errors.mean() == pytest.approx(script["least_loss"](days, width), abs=0.03), (days, width)


def test_the_quickstart_finds_the_known_answer(tmp_path: Path) -> None:
    """The forced extremes reach the bound, which the baselines cannot."""
    done = scalecore("run", str(ROOT / "examples" / "quickstart.yaml"), "search.trials=2", folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "\n  better than the best baseline: " in done.stdout
    trials = [json.loads(path.read_text()) for path in (tmp_path / "studies" / "quickstart").glob("trials/*.json")]
    assert [trial["value"] for trial in trials] == [pytest.approx(BOUND, abs=0.03)] * 2


def test_the_experiment_file_of_the_readme_passes_the_check(tmp_path: Path) -> None:
    """It can be copied."""
    (text,) = [body for body in blocks(ROOT / "README.md", "yaml") if re.search(r"^name:", body, re.MULTILINE)]
    (tmp_path / "data").symlink_to(ROOT / "examples" / "data")
    (tmp_path / "experiment.yaml").write_text(text)
    done = scalecore("check", "experiment.yaml", folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_logger_of_the_readme_writes_the_best_trial(tmp_path: Path) -> None:
    """The file, used as the README describes."""
    ((name, text),) = files(ROOT / "README.md")
    (tmp_path / name).write_text(text)
    (tmp_path / "experiment.yaml").write_text((ROOT / "examples" / "quickstart.yaml").read_text())
    (tmp_path / "data").symlink_to(ROOT / "examples" / "data")
    used = ["plugins=[./my_logger.py]", "loggers=[console, files, best]", "search.trials=1"]
    done = scalecore("run", "experiment.yaml", *used, "training.hyperparameters.epochs=1", folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    study = tmp_path / "studies" / "quickstart"
    (trial,) = [json.loads(path.read_text()) for path in study.glob("trials/*.json")]
    assert (study / "best.txt").read_text() == f"trial 0: {trial['value']:.4f}\n"


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (path.relative_to(ROOT).as_posix(), body)
        for path in sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("packages/*/README.md")])
        for body in blocks(path, "yaml")
        # Their components or data come from the page itself; test_recipes.py, test_data.py and tests/example run them.
        if not body.startswith(("# try.yaml", "# own_loop.yaml", "# experiment.yaml", "# prices.yaml"))
        and "plugins: [./" not in body
    ],
)
def test_a_piece_of_an_experiment_file_passes_the_check(path: str, text: str, tmp_path: Path) -> None:
    """Each piece of YAML in the documentation is valid in place of the same keys of an example."""
    folder = tmp_path / "examples"
    folder.mkdir()
    (folder / "data").symlink_to(ROOT / "examples" / "data")
    (folder / "spy_daily.parquet").symlink_to(ROOT / "examples" / "data" / "spy_daily.parquet")
    piece = yaml.safe_load(text)
    base = yaml.safe_load((ROOT / "examples" / "spy-parquet.yaml").read_text())
    # Without keys that the piece omits but could contradict.
    if "model" in piece:
        base["search"].pop("budget", None)
    for name in piece.get("search", {}).get("space", {}):
        base["training"]["hyperparameters"].pop(name, None)
    if "loggers" in piece:
        piece["loggers"] = [one for one in piece["loggers"] if not (isinstance(one, dict) and one["use"] == "notify")]
    (folder / "piece.yaml").write_text(yaml.safe_dump({**base, **piece}))
    done = scalecore("check", str(folder / "piece.yaml"), folder=tmp_path)
    if done.returncode == 3 and all(MISSING_EXTRA.search(line) for line in done.stderr.splitlines()):
        return  # valid except for missing packages; tests/trackers check it with all packages
    assert (done.returncode, done.stderr) == (0, ""), path


PYTHON = [(path.relative_to(ROOT).as_posix(), body) for path in markdown_files() for body in blocks(path, "python")]


@pytest.mark.parametrize(("path", "text"), PYTHON)
def test_a_piece_of_python_is_valid_and_imports_what_exists(path: str, text: str) -> None:
    """Names imported from scalecore exist. The tests of the pages also run most pieces."""
    for node in ast.walk(ast.parse(text, filename=path)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0].startswith("scalecore"):
            module = importlib.import_module(str(node.module))
            for name in node.names:
                assert hasattr(module, name.name), f"{path}: {node.module}.{name.name}"
