from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from scalecore.api.trials import Origin, StudyView
from scalecore_analysis.coverage import CoverageAnalysis
from scalecore_analysis.options import CoverageOptions

from .conftest import shape, trial

Make = Callable[..., StudyView]


@pytest.fixture
def covered(study: Make) -> dict[str, Any]:
    """Five trials, one failed, one redirected, one a replicate of another, on 3 of 9 shapes."""
    records = [
        trial(0, 0.5, architecture=shape(8, 1), hyperparameters={"learning_rate": 1e-4, "epochs": 10}),
        trial(1, 0.4, architecture=shape(8, 1), hyperparameters={"learning_rate": 0.01, "epochs": 10}),
        trial(2, 0.6, architecture=shape(8, 1), hyperparameters={"learning_rate": 0.01, "epochs": 10}),
        trial(3, state="failed", architecture=shape(16, 1)),
        trial(4, 0.7, architecture=shape(8, 4), origin=Origin(kind="redirected")),
    ]
    result = CoverageAnalysis(CoverageOptions(bins=3)).run([study(records, duplicates_avoided=2)])
    return dict(result.data["walk"])


def test_architectures_cells_and_repeats_are_counted(covered: dict[str, Any]) -> None:
    """A failed trial has visited its shape; the same point under another seed is a repeat; failures count."""
    assert covered["overview"] == {
        "trials": 5,
        "of": 9,
        "feasible architectures": 9,
        "tried": 3,
        "share": pytest.approx(1 / 3),
        "cells": 9,
        "cells tried": 3,
        "same point again": 1,
        "duplicates avoided": 2,
        "redirected": 1,
        "best on an edge": True,
    }
    assert covered["repeated"] == [
        {"architecture": "width=8,depth=1", "trials": 3, "different points": 2, "numbers": "0, 1, 2"}
    ]


def test_every_trial_has_an_origin(study: Make) -> None:
    """Trials with imported results too."""
    records = [trial(0, 0.5), trial(1, 0.6, origin=Origin(kind="imported")), trial(2, state="failed")]
    origins = CoverageAnalysis(CoverageOptions()).run([study(records)]).data["walk"]["origins"]
    assert (origins["sampled"], origins["imported"], sum(origins.values())) == (2, 1, 3)


def test_marginal_and_pairwise_coverage(covered: dict[str, Any]) -> None:
    """Each value of each dimension with its feasible shapes and trials; pairs of values that occur together."""
    marginal = {(row["dimension"], row["value"]): row for row in covered["marginal"]}
    assert marginal["width", 8] | {"dimension": "", "value": 0} == {
        "dimension": "",
        "value": 0,
        "feasible": 3,
        "tried": 2,
        "trials": 4,
        "completed": 4,
    }
    assert marginal["width", 16]["completed"] == 0
    assert marginal["width", 32]["trials"] == marginal["depth", 2]["trials"] == 0
    assert covered["pairwise"] == [{"pair": "width, depth", "feasible": 9, "tried": 3, "share": pytest.approx(1 / 3)}]


def test_a_range_is_binned_on_its_own_scale(covered: dict[str, Any]) -> None:
    """Each third of a logarithmic range is a decade; the widest gap is from 1e-4 to 4e-3."""
    by_name = {row["name"]: row for row in covered["hyperparameters"]}
    assert by_name["learning_rate"]["parts"] == 3
    assert by_name["learning_rate"]["tried"] == 3
    assert by_name["learning_rate"]["widest gap"] == pytest.approx(1.602 / 3, abs=1e-3)
    assert by_name["epochs"]["parts"] == by_name["epochs"]["tried"] == 2


def test_an_optimum_on_an_edge_is_named(covered: dict[str, Any]) -> None:
    """At the minimum of both dimensions, inside the learning rate's range; of two values both are ends."""
    assert {row["name"]: row["on edge"] for row in covered["edges"]} == {
        "width": "at its minimum",
        "depth": "at its minimum",
        "learning_rate": None,
    }
    assert {row["trial"] for row in covered["edges"]} == {1}


@pytest.mark.parametrize(
    ("space", "edge"),
    [
        ({"int": [1, 2]}, []),
        ({"int": [2, 10], "step": 8}, []),
        ({"int": [1, 3]}, ["at its minimum"]),
        ({"choice": [1, 2]}, []),
        ({"choice": [3, 2, 1]}, ["at its minimum"]),
        ({"uniform": [0.0, 1.0]}, ["at its maximum"]),
        ({"uniform": [0.0, 1.04]}, ["at its maximum"]),
        ({"uniform": [0.0, 1.1]}, [None]),
    ],
)
def test_a_range_of_two_values_has_no_edges(study: Make, space: dict[str, Any], edge: list[str]) -> None:
    """In every form of the space."""
    lowest = 2 if "step" in space else 1
    view = study([trial(0, 0.5, hyperparameters={"depth_factor": lowest})], space={"depth_factor": space})
    rows = CoverageAnalysis(CoverageOptions()).run([view]).data["walk"]["edges"]
    assert [row["on edge"] for row in rows if row["name"] == "depth_factor"] == edge


def test_gaps_are_given_in_parameters(covered: dict[str, Any]) -> None:
    """The plan stores them as shares of the budget."""
    assert covered["gaps"] == [{"from": 600, "to": 1100, "share of budget": "60% to 110%"}]
    assert {type(covered["gaps"][0][end]) for end in ("from", "to")} == {int}


def test_a_study_without_trials_has_no_coverage(study: Make) -> None:
    """Missing numbers stay empty."""
    result = CoverageAnalysis(CoverageOptions()).run([study([])])
    overview = result.data["walk"]["overview"]
    assert (overview["tried"], overview["share"], overview["best on an edge"]) == (0, 0.0, None)
    assert result.data["walk"]["edges"] == []
    assert result.summary[0].endswith("No trial has completed.")


def test_studies_with_the_same_name_are_labelled_by_folder(study: Make, tmp_path: Any) -> None:
    """The label contains the folder."""
    first, second = study([trial(0, 0.5)], folder=tmp_path / "a"), study([trial(0, 0.5)], folder=tmp_path / "b")
    result = CoverageAnalysis(CoverageOptions()).run([first, second])
    assert list(result.data) == [f"walk ({tmp_path / 'a'})", f"walk ({tmp_path / 'b'})"]
