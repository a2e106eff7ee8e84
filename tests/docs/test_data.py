"""The commands, targets, splits and defaults of docs/data.md are correct."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner

from scalecore.cli.main import main
from scalecore_torch.hyperparameters import CORE_HYPERPARAMETERS

from .conftest import ROOT, blocks, files, scalecore

PAGE = ROOT / "docs" / "data.md"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the table and the experiment file of the page."""
    place = tmp_path_factory.mktemp("data")
    assert scalecore("init", "try.yaml", folder=place).returncode == 0
    ((name, text),) = files(PAGE)
    (place / name).write_text(text)
    return place


def cells(heading: str) -> list[list[str]]:
    """The rows of the table under a heading."""
    (part,) = re.findall(rf"^## {heading}\n(.*?)(?=^## |\Z)", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    return [
        [cell.strip() for cell in line.strip("|").split(" | ")] for line in re.findall(r"^\| .*", part, re.MULTILINE)
    ]


def test_the_table_begins_as_the_page_shows(folder: Path) -> None:
    """Its header and first row match."""
    shown = blocks(PAGE, "console")[0].splitlines()[-2:]
    assert (folder / "example-prices.csv").read_text().splitlines()[:2] == shown


def test_the_commands_of_the_page_run_a_study_of_prices(folder: Path) -> None:
    """The plan has no warning except on the machine, and a short run prints the lines of the page."""
    shown = scalecore("plan", "prices.yaml", "--json", folder=folder)
    assert shown.returncode == 0, shown.stderr
    plan = json.loads(shown.stdout)
    assert plan["data"]["flags"] == []
    assert not any(one["strong"] for one in plan["data"]["drift"])
    assert not {"data", "warm-up"} & {one["subject"] for one in plan["findings"]}
    assert plan["data"]["split"]["parts"]["train"]["windows"] // 256 < 6
    short = ["search.trials=2", "training.hyperparameters={epochs: 1, warmup_steps: 5}"]
    for command, *more in (["check"], ["run", *short]):
        done = scalecore(command, "prices.yaml", *more, folder=folder)
        assert done.returncode == 0, done.stdout + done.stderr
        assert command != "run" or "NOT better than the best baseline" in done.stdout


def test_a_tier_with_a_long_look_back_separates_windows_and_labels(folder: Path) -> None:
    """Too few rows for the tier's look-back cause a smaller purge and a flag."""
    tier = ["dataset.tier=a25", "dataset.warm_up=common", "output=elsewhere"]
    shown = scalecore("plan", "prices.yaml", *tier, folder=folder)
    assert shown.returncode == 0, shown.stderr
    assert re.search(r"^  strong drift from train to val or test: .*close.*$", shown.stdout, re.MULTILINE)
    assert re.search(r"^  warn   data: split.purge 30 keeps .*$", shown.stdout, re.MULTILINE)


RULES = (
    "max(HIGH[t+1..t+3]) >= CLOSE[t] * (1 + 0.01)",
    "CLOSE[t+1] >= CLOSE[t] * (1 + 0.01)",
    "CLOSE[t+5] >= CLOSE[t]",
    "CLOSE[t+5] / CLOSE[t] - 1",
    "column y (binary)",
)
"""The plan's text of each target of the page, in order."""


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An experiment on three decades of prices, with a column of labels."""
    place = tmp_path_factory.mktemp("long")
    prices = pd.read_parquet(ROOT / "examples" / "data" / "spy_daily.parquet")
    prices.assign(y=[number % 2 for number in range(len(prices))]).to_parquet(place / "spy.parquet")
    file = place / "long.yaml"
    file.write_text(
        "name: long\ndataset: {use: parquet, path: spy.parquet, features: [Close], target: {kind: direction}}\n"
        "model: linear\nsearch: {use: random, trials: 1}\n"
    )
    return file


def planned(file: Path, override: str) -> str:
    """The plan, without other packages."""
    done = CliRunner().invoke(main, ["plan", str(file), "--no-plugins", override], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_the_targets_of_the_page_are_correct(long: Path) -> None:
    """Each piece of the page works; the plan has the rule."""
    targets = [row[0].strip("`") for row in cells("The target") if "{" in row[0]]
    assert len(targets) == len(RULES)
    for target, rule in zip(targets, RULES, strict=True):
        # The line of a forecast also has the scale of its training.
        shown = re.search(r"^  target: (.*)$", planned(long, f"dataset.target={target}"), re.MULTILINE)
        assert shown is not None
        assert shown[1].partition("; standardised in training ")[0] == rule


def test_the_splits_of_the_page_can_be_planned(long: Path) -> None:
    """Each piece of the page works."""
    splits = [row[0].strip("`") for row in cells("The split") if "{" in row[0]]
    kinds = [re.findall(r"kind: ([a-z-]+)", split)[0] for split in splits]
    assert kinds == ["contiguous", "scattered", "walk-forward"]
    for split, kind in zip(splits, kinds, strict=True):
        assert f"\n  split: {kind}, " in planned(long, f"dataset.split={split}")


def test_the_hyper_parameters_of_the_page_are_those_of_the_training() -> None:
    """Names, defaults and descriptions match."""
    told = [row for row in cells("Hyper-parameters") if row[0].startswith("`")]
    assert told == [[f"`{one.name}`", f"{one.default:g}", one.help] for one in CORE_HYPERPARAMETERS]
