"""examples/scaling-quick.yaml ends in the verdicts that follow from how its data are made.

By default three of the five budgets run, with the forced trials only and three seeds: about a minute.
`tox run -e scaling` sets SCALECORE_SCALING=whole and runs the file as it is.
"""

from __future__ import annotations

import json
import os
import re
import runpy
import statistics
from pathlib import Path
from typing import Any

import pytest
import yaml

from .conftest import ROOT, scalecore

WHOLE = os.environ.get("SCALECORE_SCALING") == "whole"
BUDGETS, SEEDS = (5, 5) if WHOLE else (3, 3)
EXAMPLE = ROOT / "examples" / "scaling-quick.yaml"


@pytest.fixture(scope="module")
def groups(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The result of `scaling-law` for each group, after one command."""
    folder = tmp_path_factory.mktemp("scaling")
    (folder / "data").symlink_to(ROOT / "examples" / "data")
    experiment = yaml.safe_load(EXAMPLE.read_text(encoding="utf-8"))
    if not WHOLE:
        experiment["sweep"]["search.budget"] = ["1k", "4k", "16k"]
        experiment["search"]["trials"] = 2
        experiment["confirm"]["seeds"] = SEEDS
    (folder / "scaling.yaml").write_text(yaml.safe_dump(experiment, sort_keys=False))
    done = scalecore("run", "scaling.yaml", folder=folder, timeout=3600.0)
    assert done.returncode == 0, done.stdout + done.stderr
    result = folder / "studies" / "scaling-quick" / "analyses" / "scaling-law" / "result.json"
    found = {one["group"]: one for one in json.loads(result.read_text())["data"]["groups"]}
    for label, one in found.items():
        assert re.search(rf"^scaling-law: {label}: Verdict: {one['verdict']}\b", done.stdout, re.MULTILINE)
    return found


@pytest.mark.slow
def test_each_horizon_ends_in_the_verdict_that_its_data_imply(groups: dict[str, Any]) -> None:
    """The loss falls at one day and not at five, with every precondition met and none waived."""
    assert set(groups) == {"horizon 1", "horizon 5"}
    assert groups["horizon 1"]["verdict"] in ("holds", "holds with power law")
    assert groups["horizon 5"]["verdict"] == "flat"
    for one in groups.values():
        assert (one["missing"], one["exploratory"], one["margin"]) == ([], [], 0.05)
        assert all(condition["met"] and not condition["waived"] for condition in one["preconditions"])
        assert [len(budget["losses"]) for budget in one["budgets"]] == [SEEDS] * BUDGETS
        assert all(budget["fresh"] for budget in one["budgets"])


@pytest.mark.slow
def test_no_budget_is_better_than_the_least_possible_loss(groups: dict[str, Any]) -> None:
    """The bound of the chosen width, less what the mean over 1,800 validation days varies by."""
    least_loss = runpy.run_path(str(ROOT / "examples" / "data" / "make_load.py"))["least_loss"]
    for label, days, deviation in (("horizon 1", 1, 0.04), ("horizon 5", 5, 0.03)):
        for one in groups[label]["budgets"]:
            width = int(re.search(r"d_model=(\d+)", one["chosen"])[1])
            assert statistics.fmean(one["losses"]) > least_loss(days, width) - 3 * deviation, (label, width)


@pytest.mark.slow
@pytest.mark.skipif(not WHOLE, reason="takes some minutes; `tox run -e scaling` runs it")
def test_the_campaign_on_prices_ends_without_a_verdict_because_of_its_baseline(tmp_path: Path) -> None:
    """The searches were confirmed on fresh seeds, and no budget is better than trailing volatility."""
    done = scalecore("run", str(ROOT / "examples" / "spy-campaign.yaml"), folder=tmp_path, timeout=3600.0)
    assert done.returncode == 0, done.stdout + done.stderr
    for label in ("horizon 1", "horizon 3"):
        assert f"scaling-law: {label}: Verdict: not assessable. Missing: " in done.stdout
    result = tmp_path / "studies" / "spy-campaign" / "analyses" / "scaling-law" / "result.json"
    for one in json.loads(result.read_text())["data"]["groups"]:
        met = {condition["name"]: condition["met"] for condition in one["preconditions"]}
        assert met["baseline"] is False
        assert (met["budgets"], met["seeds"], met["margin"]) == (True, True, True)


def test_the_page_shows_the_recorded_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plan, output and losses are those of the kept files, which end in both verdicts."""
    monkeypatch.syspath_prepend(str(ROOT / ".ci"))
    script = runpy.run_path(str(ROOT / ".ci" / "record_scaling.py"))
    page = (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")
    assert script["with_parts"](page) == page, "run `python .ci/record_scaling.py --pages`"
    recorded = json.loads((script["KEPT"] / "result.json").read_text(encoding="utf-8"))["data"]["verdicts"]
    assert recorded["horizon 1"].startswith("holds")
    assert recorded["horizon 5"] == "flat"
