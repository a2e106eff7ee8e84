"""The best of each budget trained at every budget."""

from __future__ import annotations

import json
from statistics import mean

import pytest

from .conftest import Study


@pytest.fixture
def campaign(study: Study) -> Study:
    """Two budgets of tiny transformers, two trials each."""
    study.experiment["search"] |= {"trials": 2, "tolerance": 0.4, "startup_trials": 1}
    study.experiment["search"]["space"] = {"learning_rate": {"log_uniform": [1e-3, 1e-2]}}
    study.experiment["training"]["hyperparameters"]["epochs"] = 1
    study.experiment["sweep"] = {"search.budget": [3000, 6000]}
    return study


def test_each_best_is_trained_at_every_budget(campaign: Study) -> None:
    """A plan writes no files, a second run trains nothing, and all numbers match the journals."""
    campaign.run()
    studies = [Study(campaign.root, {"name": f"tiny/budget-{budget}"}) for budget in (3000, 6000)]
    command = ("analyze", "cross-budget", str(campaign.folder), "--seeds", "3")

    planned = campaign.cli(*command, "--dry-run")
    assert "12 trainings left, about " in planned.stdout
    assert not any(one.retrained() for one in studies)
    assert not (campaign.folder / "analyses").exists()

    campaign.cli(*command)
    result = json.loads((campaign.folder / "analyses" / "cross-budget" / "result.json").read_text())
    cells = result["tables"]["matrix"]
    assert [(cell["best of"], cell["trained at"]) for cell in cells] == [
        ("tiny-budget-3000", "3000"),
        ("tiny-budget-6000", "3000"),
        ("tiny-budget-6000", "6000"),
        ("tiny-budget-3000", "6000"),
    ]
    for study in studies:
        by_shape: dict[str, list[float]] = {}
        for record in study.retrained():
            by_shape.setdefault(json.dumps([record["architecture"], record["hyperparameters"]]), []).append(
                record["value"]
            )
        mine = [cell for cell in cells if cell["trained at"] == study.experiment["name"].rpartition("-")[2]]
        assert [cell["seeds"] for cell in mine] == [3, 3]
        assert sorted(cell["mean"] for cell in mine) == pytest.approx(sorted(map(mean, by_shape.values())))
        # The search is unchanged: training runs at other budgets are not its trials.
        assert len(study.finished()) == 2
    for pair in result["tables"]["transfers"]:
        own, other = (
            next(cell for cell in cells if (cell["best of"], cell["trained at"]) == (source, pair["trained at"]))
            for source in (f"tiny-budget-{pair['trained at']}", pair["best of"])
        )
        assert pair["gap"] == pytest.approx(other["mean"] - own["mean"])
        assert pair["verdict"] in ("holds", "lost", "better", "inconclusive")

    again = campaign.cli(*command, "--dry-run")
    assert "0 trainings left" in again.stdout


def test_studies_that_are_not_comparable_are_refused(campaign: Study) -> None:
    """Studies with the same budget, and a single study; nothing is trained."""
    campaign.experiment["sweep"] = {"seed": [1, 2]}
    campaign.run("search.trials=1")
    done = campaign.cli("analyze", "cross-budget", str(campaign.folder), code=5)
    assert done.stderr == (
        "no two studies have the same data, target, split, model and objective and different budgets, so there is "
        "nothing to transfer; name studies that differ only in their budget\n"
    )
    one = campaign.cli("analyze", "cross-budget", str(campaign.folder / "seed-1"), code=2)
    assert one.stderr.startswith("analysis 'cross-budget' needs at least 2 studies: ")
