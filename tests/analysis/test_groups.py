from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import attrs
import pytest

from scalecore.api.errors import RefusedError
from scalecore.api.trials import StudyView
from scalecore_analysis.groups import Group, budget_groups, comparable_groups, differing_settings

from .conftest import with_plan

Make = Callable[..., StudyView]


@pytest.fixture
def made(study: Make) -> Callable[..., StudyView]:
    """A study of one cell of a campaign: `made("2M", "target.horizon=3", "dataset.tier=a60")`.

    Keys of the target also change the plan's target, its hash, and the fingerprint of the data; those of the dataset
    only the fingerprint.
    """

    def make(budget: str | None, *settings: str, name: str = "one") -> StudyView:
        low = {"1k": 1, "2M": 2, "20M": 20, "2000000": 2}.get(budget or "", 1)
        view = study([], name=f"{name}-{budget}-{'-'.join(settings)}", budget=budget)
        experiment = copy.deepcopy(dict(view.experiment))
        target: dict[str, Any] = {}
        identity = ""
        for setting in settings:
            path, _, text = setting.partition("=")
            value: Any = int(text) if text.isdigit() else text
            section, _, rest = path.partition(".")
            if section == "target":
                target[rest] = value
            elif rest:
                experiment[section][rest] = value
            else:
                experiment[section] = value
            identity += setting if section in ("target", "dataset") else ""
        view = attrs.evolve(view, experiment=experiment)
        data = view.plan.data.plain()
        hashed = {"hash": str(sorted(target.items()))} if target else {}
        changed = {"target": {**data["target"], **target, **hashed}, "fingerprint": identity or "walk"}
        size = {"budget": low * 10**6, "range": [low * 10**6 - 1, low * 10**6 + 1]} if budget else {"budget": None}
        return with_plan(view, data=changed, architectures=size)

    return make


def seen(groups: list[Group]) -> dict[str, list[str]]:
    """The budgets of each group by its label."""
    return {group.label: [study.budget for study in group.studies] for group in groups}


def test_a_group_has_the_budgets_of_one_horizon(made: Make) -> None:
    """The label names the horizon only, since nothing else differs; the smallest budget is first."""
    studies = [made(budget, f"target.horizon={horizon}") for horizon in (1, 3) for budget in ("20M", "2M")]
    for groups in (comparable_groups(studies), budget_groups(studies)):
        assert list(seen(groups)) == ["horizon 1", "horizon 3"]
    assert seen(budget_groups(studies)) == {"horizon 1": ["2M", "20M"], "horizon 3": ["2M", "20M"]}


def test_a_single_group_has_no_label(made: Make) -> None:
    """Its texts have no prefix."""
    (group,) = budget_groups([made("2M"), made("20M")])
    assert (group.label, group.titled("holds")) == ("", "holds")
    assert budget_groups([]) == []


def test_a_label_has_everything_that_differs_in_target_and_features(made: Make) -> None:
    """Horizon, threshold and tier; the tier also where the horizon alone would distinguish the groups."""
    cells = [("1", "a25"), ("3", "a25"), ("3", "a60")]
    studies = [made("2M", f"target.horizon={horizon}", f"dataset.tier={tier}") for horizon, tier in cells]
    assert list(seen(budget_groups(studies))) == [
        "horizon 1, tier a25",
        "horizon 3, tier a25",
        "horizon 3, tier a60",
    ]
    assert budget_groups(studies)[1].titled("holds") == "horizon 3, tier a25: holds"


@pytest.mark.parametrize(
    ("settings", "labels"),
    [
        (("model.use=linear", "model.use=patchtst"), ["model linear", "model patchtst"]),
        (("objective.metric=val_loss", "objective.metric=auc"), ["metric val_loss", "metric auc"]),
        (("target.threshold=1", "target.threshold=2"), ["threshold 1", "threshold 2"]),
        (("dataset.path=/home/a/one.csv", "dataset.path=/home/a/two.csv"), ["path one.csv", "path two.csv"]),
    ],
)
def test_results_of_another_kind_are_another_group(made: Make, settings: tuple[str, str], labels: list[str]) -> None:
    """Model family, objective, target and data are never mixed in one group."""
    groups = budget_groups([made(budget, setting) for setting in settings for budget in ("2M", "20M")])
    assert seen(groups) == {label: ["2M", "20M"] for label in labels}


def test_data_that_differ_in_content_only_are_named_by_their_fingerprint(made: Make) -> None:
    """The experiments are equal, for example after another download."""
    studies = [made("2M"), with_plan(made("2M", name="again"), data={"fingerprint": "0123456789abcdef"})]
    assert list(seen(budget_groups(studies))) == ["data walk", "data 01234567"]


def test_comparable_studies_of_one_budget_are_separated_by_what_differs(made: Make) -> None:
    """By seed or strategy; a setting that only differs between budgets separates nothing."""
    studies = [made(budget, f"seed={seed}") for seed in (0, 1) for budget in ("2M", "20M")]
    assert seen(budget_groups(studies)) == {"seed 0": ["2M", "20M"], "seed 1": ["2M", "20M"]}
    assert seen(comparable_groups(studies)) == {"": ["2M", "20M", "2M", "20M"]}
    studies = [made("2M", "search.use=random"), made("2M", "search.use=other"), made("20M", "search.use=other")]
    assert seen(budget_groups(studies)) == {"strategy random": ["2M"], "strategy other": ["2M", "20M"]}
    studies = [made("2M", "training.schedule=cosine"), made("20M", "training.schedule=constant")]
    assert seen(budget_groups(studies)) == {"": ["2M", "20M"]}
    assert differing_settings(budget_groups(studies)[0].studies) == ["training.schedule"]


def test_two_equal_studies_are_refused(made: Make) -> None:
    """Neither a copied folder nor another path of the same data makes them different."""
    first, second = made("2M", name="first"), made("2M", name="second")
    second.experiment["dataset"]["path"] = "/elsewhere/walk.csv"
    second.experiment["search"]["trials"] = 99
    with pytest.raises(RefusedError) as error:
        budget_groups([first, second])
    assert str(error.value) == (
        "two studies have the same budget and the same settings, so their runs cannot be separated as one study per "
        f"budget: {first.folder} and {second.folder}; name one of them"
    )
    assert seen(comparable_groups([first, second])) == {"": ["2M", "2M"]}


def test_studies_without_a_budget_are_told_apart_by_their_sizes(made: Make) -> None:
    """Equal grids are one size; other sizes are other budgets of one group."""
    first, second = made(None, name="first"), made(None, name="second")
    with pytest.raises(RefusedError, match="same budget and the same settings"):
        budget_groups([first, second])
    shapes = second.plan.plain()["architectures"]["architectures"]
    second = with_plan(second, architectures={"architectures": [{**one, "num_parameters": 7} for one in shapes]})
    assert seen(budget_groups([first, second])) == {"": ["none", "none"]}


def test_differences_that_are_allowed_make_one_group(made: Make) -> None:
    """For example budgets of studies with other features, if a user wants to compare them."""
    studies = [made("2M", "target.horizon=1"), made("20M", "target.horizon=3")]
    assert seen(budget_groups(studies, allow=["target"])) == {"": ["2M", "20M"]}
    studies = [made("2M"), with_plan(made("20M"), data={"fingerprint": "other"})]
    assert seen(budget_groups(studies, allow=["values"])) == {"": ["2M", "20M"]}
