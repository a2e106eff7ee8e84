from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest

from scalecore.api.trials import Origin, StudyView, TrialRecord
from scalecore.data.predictions import Predictions, write_predictions
from scalecore.testing.fakes import changed
from scalecore_analysis.options import ResultsOptions
from scalecore_analysis.results import ResultsAnalysis

from .conftest import COLLAPSED, shape, trial, with_plan

Make = Callable[..., StudyView]
WINDOWS = 400


def analyse(*studies: StudyView, **options: Any) -> Any:
    return ResultsAnalysis(ResultsOptions(**options)).run(studies)


def predicting(folder: Path, record: TrialRecord, logits: np.ndarray, labels: np.ndarray) -> TrialRecord:
    """The record with these stored logits; its value is their mean loss."""
    (folder / "predictions").mkdir(parents=True, exist_ok=True)
    path = folder / "predictions" / f"trial_{record.number:04d}.npz"
    about = {"part": "val", "epoch": 2, "task": "binary", "data": "d", "target": "t", "horizon": 1, "point": 0}
    predictions = Predictions(
        outputs=logits.astype(np.float32)[:, None],
        labels=labels.astype(np.float32),
        times=np.datetime64("2020-01-01", "ns") + np.arange(len(labels)) * np.timedelta64(1, "D"),
        rows=np.arange(len(labels)),
        about=about,
    )
    digest = write_predictions(path, predictions)
    loss = float(predictions.losses().mean())
    best = {**(record.best.plain() if record.best else {}), "val_loss": loss}
    kept = {"file": f"predictions/{path.name}", "sha256": digest}
    return changed(record, value=loss, best=best, predictions=kept)


@pytest.fixture
def forecasters(study: Make, tmp_path: Path) -> StudyView:
    """Trials 0 and 1 predict equally well with different noise, trial 2 predicts noise, trial 3 failed."""
    generator = np.random.default_rng(0)
    signal = generator.normal(size=WINDOWS)
    labels = (signal + generator.normal(size=WINDOWS) > 0).astype(float)
    noise = [0.1 * generator.normal(size=WINDOWS) for _ in range(3)]
    logits = [1.5 * signal + noise[0], 1.5 * signal + noise[1], 5 * noise[2]]
    records = [predicting(tmp_path / "walk", trial(number), logits[number], labels) for number in range(3)]
    return study([*records, trial(3, state="failed", duration=1800.0)])


def test_ties_are_found_by_paired_comparison(forecasters: StudyView) -> None:
    """The two equally good trials are tied; the trial that predicts noise is not."""
    result = analyse(forecasters)
    found = result.data["walk"]
    assert sorted(row["trial"] for row in found["tied"]) == [0, 1]
    assert found["best"]["tied"] == 2
    assert found["best"]["trial"] in (0, 1)
    assert result.summary[0].endswith(
        f"tied with 1 other trial; better than the best baseline ({found['best']['baseline']} "
        f"{found['best']['its loss']:.4f})."
    )


def test_g18_a_clear_winner_has_no_optimism(study: Make, tmp_path: Path) -> None:
    """However the errors are drawn, the same trial is the best."""
    generator = np.random.default_rng(0)
    labels = (generator.random(WINDOWS) < 0.5).astype(float)
    logits = [3 * labels - 1.5, 1.5 - 3 * labels]
    records = [predicting(tmp_path / "walk", trial(number), logits[number], labels) for number in range(2)]
    assert analyse(study(records)).data["walk"]["best"]["optimism"] == pytest.approx(0.0, abs=1e-12)


def test_a_trial_that_does_not_count_is_not_tied(forecasters: StudyView) -> None:
    """It is outside the current grid or space and could not have been selected."""
    best = analyse(forecasters).data["walk"]["best"]["trial"]
    found = analyse(attrs.evolve(forecasters, left_out={best: "outside of the space"})).data["walk"]
    assert [row["trial"] for row in found["tied"]] == [1 - best]
    assert found["best"]["trial"] == 1 - best


def test_the_difference_of_two_trials_matches_their_records(forecasters: StudyView) -> None:
    """It can be recomputed from the values of the records (guard G13)."""
    found = analyse(forecasters).data["walk"]
    values = {record.number: record.value for record in forecasters.trials}
    for row in found["tied"]:
        assert row["worse by"] == pytest.approx(values[row["trial"]] - values[found["best"]["trial"]])
        assert row["low"] <= row["worse by"] <= row["high"]


def test_the_best_of_many_noise_models_is_optimistic(study: Make, tmp_path: Path) -> None:
    """Of 30 models of pure noise the best looks better than on fresh windows, by about the estimated optimism."""
    generator = np.random.default_rng(1)
    labels = (generator.random(WINDOWS) < 0.5).astype(float)
    records = [
        predicting(tmp_path / "walk", trial(number), generator.normal(scale=0.5, size=WINDOWS), labels)
        for number in range(30)
    ]
    found = analyse(study(records)).data["walk"]["best"]
    values = [record.value for record in records]
    # All models differ only by chance: the mean is the true value of the best one.
    assert 0.3 < found["optimism"] / (np.mean(values) - min(values)) < 1.2


def test_fresh_seeds_estimate_the_optimism_of_the_best(study: Make) -> None:
    """The best of the search had 0.50, its replicates 0.53 and 0.55."""
    again = {"architecture": shape(8, 1), "hyperparameters": {"learning_rate": 1e-3, "epochs": 10}}
    searched = [trial(0, 0.50, **again), trial(1, 0.60)]
    replicates = tuple(
        trial(number, value, hash=f"fresh-{number}", origin=Origin(kind="replicate"), **again)
        for number, value in enumerate([0.53, 0.55])
    )
    best = analyse(study(searched, confirmations=replicates)).data["walk"]["best"]
    assert (best["fresh seeds"], best["mean of them"]) == (2, pytest.approx(0.54))
    assert best["optimism by seeds"] == pytest.approx(0.04)
    assert best["tied"] is None


def test_without_predictions_there_are_no_ties(study: Make) -> None:
    """A note reports the reason."""
    result = analyse(study([trial(0, 0.5), trial(1, 0.6)]))
    assert result.tables["Tied with the best"] == []
    assert "trial 0 cannot be compared by window: its predictions were not stored" in result.notes[-1]


def test_g07_studies_of_different_targets_are_different_groups_unless_allowed(study: Make) -> None:
    """Each row and sentence names its group; a group that `allow` makes has a note."""
    target = {"kind": "direction", "horizon": 5, "hash": "other", "text": "CLOSE[t+5] > CLOSE[t]"}
    first, second = study([trial(0, 0.5)], name="h2"), study([trial(0, 0.6)], name="h5", data={"target": target})
    result = analyse(first, second)
    assert result.title == "Results of 2 studies in 2 groups"
    assert [line.split(",")[0] for line in result.summary] == ["horizon 2: h2: trial 0", "horizon 5: h5: trial 0"]
    assert result.notes[0] == (
        "Only studies of one group have the same data, target, split, model family and metric; values of different "
        "groups are not comparable."
    )
    rows = result.tables["Best of each study"]
    assert [(row["group"], row["study"], row["val_loss"]) for row in rows] == [
        ("horizon 2", "h2", 0.5),
        ("horizon 5", "h5", 0.6),
    ]
    assert {name: one["group"] for name, one in result.data.items()} == {"h2": "horizon 2", "h5": "horizon 5"}
    together = analyse(first, second, allow=["target"])
    assert together.title == "Results of 2 studies"
    assert "The studies differ in target, which `allow` permits: their values are not comparable." in together.notes
    assert "group" not in together.tables["Best of each study"][0]


@pytest.mark.parametrize(
    ("data", "name", "label"),
    [
        ({"fingerprint": "changed"}, "values", "data changed"),
        ({"features": ["Close", "Open"]}, "features", "data"),
        ({"split": None}, "split", "data"),
    ],
)
def test_other_data_are_another_group_too(study: Make, data: dict[str, Any], name: str, label: str) -> None:
    """Changed values, other features, another split."""
    first = study([trial(0, 0.5)], name="one")
    if name == "split":
        data = {"split": {**first.plan.data.split.plain(), "hash": "other"}}
    second = study([trial(0, 0.5)], name="two", data=data)
    groups = [row["group"] for row in analyse(first, second).tables["Trials"]]
    assert groups[0] != groups[1]
    assert groups[1].startswith(label)
    assert analyse(first, second, allow=[name]).title == "Results of 2 studies"


def test_optima_are_compared_within_groups_and_over_all(study: Make) -> None:
    """A place in the space is comparable between targets, unlike a loss."""
    target = {"kind": "direction", "horizon": 5, "hash": "other"}

    def one(name: str, rate: float, **data: Any) -> StudyView:
        return study([trial(0, 0.5, hyperparameters={"learning_rate": rate, "epochs": 10})], name=name, **data)

    views = [one("a", 1e-3), one("b", 2e-3), one("c", 4e-3, data={"target": target})]
    rows = analyse(*views).tables["Agreement of the optima"]
    assert [(row["group"], row["lowest best"], row["highest best"]) for row in rows] == [
        ("horizon 2", 1e-3, 2e-3),
        ("all", 1e-3, 4e-3),
    ]


def test_g27_every_state_and_all_wasted_time_is_counted(study: Make) -> None:
    """Failures and constants with their reasons and hours; a pruned trial is not wasted."""
    records = [
        trial(0, 0.5, duration=3600.0),
        trial(1, 0.6, flags=[COLLAPSED], duration=1800.0),
        trial(2, state="out_of_memory", duration=900.0),
        trial(3, state="out_of_memory", duration=900.0),
        trial(4, state="pruned", duration=600.0),
        trial(5, state="diverged", duration=None),
        trial(6, 0.5),
    ]
    result = analyse(study(records, running=(7,)))
    (counts,) = result.tables["Trials"]
    assert counts["completed"] == 3
    assert (counts["out_of_memory"], counts["pruned"], counts["diverged"], counts["failed"]) == (2, 1, 1, 0)
    assert (counts["collapsed"], counts["running"]) == (1, 1)
    assert counts["wasted hours"] == pytest.approx(1.0)
    wasted = {row["why"]: row for row in result.tables["Wasted"]}
    assert wasted["out_of_memory"]["numbers"] == "2, 3"
    assert set(wasted) == {"out_of_memory", "diverged", "predicts a constant [G09]"}
    assert result.tables["Same values in different trials"] == [
        {"study": "walk", "value": 0.5, "trials": 2, "numbers": "0, 6"}
    ]


def test_g09_a_collapsed_best_is_called_no_result(study: Make) -> None:
    """If all trials collapsed."""
    result = analyse(study([trial(0, 0.5, flags=[COLLAPSED])]))
    assert "every completed trial predicts a constant: not a valid result [G09]" in result.summary[0]


def test_studies_agree_if_the_ranges_of_tied_trials_overlap(study: Make) -> None:
    """The learning rates of the best differ by ten without ties; epochs do not vary and have no row."""

    def one(name: str, rate: float) -> StudyView:
        return study([trial(0, 0.5, hyperparameters={"learning_rate": rate, "epochs": 10})], name=name)

    rows = analyse(one("small", 1e-3), one("large", 1e-2)).tables["Agreement of the optima"]
    assert rows == [
        {
            "coordinate": "learning_rate",
            "lowest best": 1e-3,
            "highest best": 1e-2,
            "largest over smallest": pytest.approx(10.0),
            "agree": False,
            "common from": None,
            "common to": None,
        }
    ]


def test_studies_are_compared_by_the_ratios_of_declared_roles(study: Make) -> None:
    """The names of the dimensions do not matter; without roles these two have no ratio."""

    def one(name: str, width: int, roles: dict[str, str]) -> StudyView:
        view = study([trial(0, 0.5, architecture=shape(width, 2))], name=name)
        return with_plan(view, architectures={"roles": roles})

    roles = {"width": "width", "depth": "depth"}
    rows = analyse(one("small", 8, roles), one("large", 32, roles)).tables["Agreement of the optima"]
    assert [(row["coordinate"], row["lowest best"], row["highest best"]) for row in rows] == [
        ("width / depth", 4.0, 16.0)
    ]
    assert analyse(one("small", 8, {}), one("large", 32, {})).tables["Agreement of the optima"] == []


@pytest.mark.parametrize("records", [[], [trial(0, state="failed")], [trial(0, 0.7)]])
def test_studies_with_few_results_are_reported(study: Make, records: list[TrialRecord]) -> None:
    """No trial, only failures, one trial."""
    result = analyse(study(records))
    completed = sum(record.value is not None for record in records)
    assert ("no trial has completed" in result.summary[0]) is (completed == 0)
