from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attrs import evolve

from scalecore.api.analysis import PlannedTraining
from scalecore.api.errors import RefusedError
from scalecore.api.predictions import trial_predictions
from scalecore.api.statistics import difference, margin_of
from scalecore.api.trials import Origin, StudyView, TrialRecord
from scalecore.data.predictions import Predictions, write_predictions
from scalecore.testing.fakes import changed
from scalecore_analysis.compare import CompareAnalysis
from scalecore_analysis.comparing.verdicts import detectable
from scalecore_analysis.options import CompareOptions

from .conftest import addresses_of, figures_of, shape, trial, with_plan

Make = Callable[..., StudyView]
Losses = np.ndarray[Any, np.dtype[np.float64]]
WINDOWS = 400
OVERLAP = 2
"""Of the labels of the planned study."""


def analyse(*studies: StudyView, **options: Any) -> Any:
    return CompareAnalysis(CompareOptions(**options)).run(studies)


def rows_of(*studies: StudyView, **options: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = analyse(*studies, **options).data["comparisons"]
    return found


def labels_of(start: int = 0) -> Losses:
    return (np.random.default_rng(7).random(2 * WINDOWS) < 0.5).astype(float)[start : start + WINDOWS]


def predicting(
    folder: Path, record: TrialRecord, losses: Losses, *, start: int = 0, labels: Losses | None = None
) -> TrialRecord:
    """The record with stored logits that have these losses; the first window ends on day `start`."""
    file = folder / "predictions" / f"{record.origin.kind}_{record.number}.npz"
    file.parent.mkdir(parents=True, exist_ok=True)
    labels = labels_of(start) if labels is None else labels
    logits = -np.log(np.expm1(losses)) * np.where(labels > 0, 1, -1)
    about = {"part": "val", "epoch": 2, "task": "binary", "data": "d", "target": "t", "horizon": OVERLAP, "point": 0}
    predictions = Predictions(
        outputs=logits[:, None],
        labels=labels,
        times=np.datetime64("2020-01-01", "ns") + np.arange(start, start + len(losses)) * np.timedelta64(1, "D"),
        rows=np.arange(len(losses)),
        about=about,
    )
    kept = {"file": str(file.relative_to(folder)), "sha256": write_predictions(file, predictions)}
    value = float(predictions.losses().mean())
    best = {**(record.best.plain() if record.best else {}), "val_loss": value}
    return changed(record, value=value, best=best, predictions=kept)


def noise(seed: int, *, spread: float = 0.1) -> Losses:
    return np.exp(spread * np.random.default_rng(seed).normal(size=WINDOWS))


@pytest.fixture
def seeded(study: Make, tmp_path: Path) -> Make:
    """Create a study whose best trial has the mean loss `level` on each of `seeds` fresh seeds.

    `tier`, `model`, `horizon`, ... are the setting of that name; `features` is a number.
    """

    def make(
        name: str,
        level: float = 0.7,
        *,
        seeds: int = 5,
        start: int = 0,
        labels: Losses | None = None,
        trials: int = 3,
        settings: dict[str, Any] | None = None,
        data: dict[str, Any] | None = None,
        features: int = 1,
        width: int = 8,
        chance: int = 0,
        **changes: Any,
    ) -> StudyView:
        own = {"architecture": shape(width, 1), "hyperparameters": {"learning_rate": 1e-3, "epochs": 10}}
        common = noise(1, spread=0.3)  # all studies find the same windows hard
        searched = [trial(number, level + 0.1 * number, hash=f"{name}-searched-{number}") for number in range(trials)]
        best = changed(searched[0], **own)
        searched[0] = predicting(tmp_path / name, best, 0.9 * level * common, start=start, labels=labels)
        fresh = tuple(
            predicting(
                tmp_path / name,
                trial(number, level, hash=f"{name}-{number}", origin=Origin(kind="replicate"), **own),
                level * (1 + 0.01 * (number - (seeds - 1) / 2)) * common * noise(100 * chance + number, spread=0.05),
                start=start,
                labels=labels,
            )
            for number in range(seeds)
        )
        columns = [f"x{number}" for number in range(features)]
        made = study(
            searched,
            name=name,
            confirmations=fresh,
            total=trials,
            data={"features": columns, "fingerprint": f"{features} features", **(data or {})},
            **changes,
        )
        for path, value in (settings or {}).items():
            section: Any = made.experiment
            *parents, last = path.split(".")
            for parent in parents:
                section = section[parent]
            section[last] = value
        return made

    return make


def tier(make: Make, name: str, level: float, **changes: Any) -> StudyView:
    return make(f"{name}-study", level, features=int(name[1:]), settings={"dataset.tier": name}, **changes)


# --- verdicts -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("level", "margin", "verdict", "conclusion"),
    [
        (0.60, 0.005, "better", "better."),
        (0.80, 0.005, "worse", "worse."),
        (0.60, 0.500, "better", "better, by less than the margin of 0.5000."),
        (0.70, 0.050, "equivalent", "equivalent within 0.0500."),
    ],
)
def test_a_study_is_better_worse_or_equivalent(
    seeded: Make, level: float, margin: float, verdict: str, conclusion: str
) -> None:
    """A significant difference is not equivalence, however wide the margin is."""
    result = analyse(tier(seeded, "a25", 0.7), tier(seeded, "a100", level, chance=1), margin=margin)
    (row,) = result.data["comparisons"]
    assert (row["study"], row["reference"], row["verdict"]) == ("a100-study", "a25-study", verdict)
    assert row["difference"] == pytest.approx(level - 0.7, abs=0.02)
    assert result.summary[1].startswith("Tier a100 against a25 (100 against 25 features): val_loss ")
    assert result.summary[1].endswith(f" over 400 windows and 5 against 5 fresh seeds: {conclusion}")


def test_the_interval_is_that_of_replicates_paired_by_window(seeded: Make, tmp_path: Path) -> None:
    """It includes the variation of seeds and windows, and can be recomputed from the stored predictions (guard G13)."""
    one, other = tier(seeded, "a25", 0.7), tier(seeded, "a100", 0.69, chance=1)
    (row,) = rows_of(one, other)
    losses = losses_of(other), losses_of(one)
    values = [part.mean(axis=1).tolist() for part in losses]
    expected = difference(*values, losses=losses, overlap=OVERLAP)
    assert row["difference"] == pytest.approx(expected.value)
    assert (row["low"], row["high"]) == pytest.approx(expected.interval())
    assert row["margin"] == pytest.approx(margin_of(values[1], [values[0]]))
    assert row["trainings"]["study"]["values"] == values[0]
    assert row["trainings"]["study"]["hashes"] == [record.hash for record in other.confirmations]
    seeds_only = difference(*values)
    assert expected.error is not None
    assert seeds_only.error is not None
    assert expected.error > seeds_only.error


def losses_of(view: StudyView) -> Losses:
    """The stored losses of the replicates [seeds, windows]."""
    found = [trial_predictions(view.folder, record) for record in view.confirmations]
    return np.stack([one.losses() for one in found if one is not None])


def test_an_undecided_comparison_names_the_detectable_difference(seeded: Make) -> None:
    """A difference as large as that is found in four of five repetitions."""
    studies = tier(seeded, "a25", 0.7), tier(seeded, "a100", 0.695, chance=1)
    result = analyse(*studies, margin=1e-4)
    (row,) = result.data["comparisons"]
    assert row["verdict"] == "inconclusive"
    assert (row["high"] - row["low"]) / 2 < row["detectable"] < row["high"] - row["low"]
    assert result.summary[1].endswith(
        f"inconclusive; these seeds and windows detect a difference of {row['detectable']:.4f}; the margin of 0.0001 "
        "needs more windows, not only more seeds."
    )


def test_an_undecided_comparison_names_the_seeds_that_would_decide_it(seeded: Make) -> None:
    """With that many, the margin is the detectable difference."""
    one, other = tier(seeded, "a25", 0.7), tier(seeded, "a100", 0.695, chance=1)
    losses = losses_of(other), losses_of(one)
    values = [part.mean(axis=1) for part in losses]
    gap = difference(*map(list, values), losses=losses, overlap=OVERLAP)
    spread = sum(float(part.var(ddof=1)) for part in values)
    assert gap.error is not None
    least = detectable(gap, comparisons=1)
    assert least is not None
    # The windows' variance stays; that of the seeds is divided by 40 instead of 5.
    error = math.sqrt(gap.error**2 - spread / 5 + spread / 40)
    text = analyse(one, other, margin=least * error / gap.error * 1.0001).summary[1]
    assert text.endswith(" needs 40 seeds of each.")


def test_equal_studies_are_rarely_called_different() -> None:
    """In at most 5 % of the cases, up to chance, with twelve comparisons at once too (Bonferroni)."""
    from scalecore_analysis.comparing.verdicts import decide

    generator = np.random.default_rng(0)
    for comparisons in (1, 8):
        wrong = 0
        for _ in range(100):
            verdicts = []
            for _ in range(comparisons):
                first, second = (generator.normal(size=(3, 1)) + generator.normal(size=(3, 200)) for _ in range(2))
                values = [part.mean(axis=1).tolist() for part in (first, second)]
                gap = difference(*values, losses=(first, second), overlap=1)
                verdicts.append(decide(gap, sign=1.0, seeds=(3, 3), margin=1e-9, comparisons=comparisons))
            wrong += any(verdict != "inconclusive" for verdict in verdicts)
        assert wrong / 100 < 0.12


def test_several_comparisons_share_the_error_rate(seeded: Make) -> None:
    """The interval of the same two studies is wider beside another comparison."""
    one, other, third = (
        tier(seeded, "a25", 0.7),
        tier(seeded, "a100", 0.69, chance=1),
        tier(seeded, "a50", 0.7, chance=2),
    )
    (alone,) = rows_of(one, other)
    row = next(row for row in rows_of(one, other, third) if row["study"] == "a100-study")
    assert row["difference"] == alone["difference"]
    assert row["low"] < alone["low"]
    assert row["high"] > alone["high"]
    assert row["comparisons"] == 2


def test_a_larger_area_under_the_roc_is_better(seeded: Make) -> None:
    """The direction follows from the metric; its interval includes the windows."""
    one, other = tier(seeded, "a25", 0.9), tier(seeded, "a100", 0.5, chance=1)
    (row,) = rows_of(one, other, metric="auc")
    assert row["auc"] > row["of reference"]
    assert row["verdict"] == "better"


def test_a_metric_without_values_by_window_has_seeds_only(seeded: Make) -> None:
    """A note says so."""

    def measured(record: TrialRecord, value: float) -> TrialRecord:
        best = record.best.plain() if record.best else {}
        return changed(record, best={**best, "pr_auc": value + record.number / 100})

    def with_metric(view: StudyView, value: float) -> StudyView:
        trials = tuple(measured(one, value) for one in view.trials)
        return evolve(view, trials=trials, confirmations=tuple(measured(one, value) for one in view.confirmations))

    result = analyse(
        with_metric(tier(seeded, "a25", 0.7), 0.5), with_metric(tier(seeded, "a100", 0.7), 0.8), metric="pr_auc"
    )
    assert result.data["comparisons"][0]["verdict"] == "better"
    assert (
        "a100-study against a25-study: the interval covers seeds only, because pr_auc has no value by window."
        in result.notes
    )


def test_the_margin_is_that_of_the_experiment_files(seeded: Make) -> None:
    """The smaller one, if two studies declare different ones; an option overrides them."""
    one, other = tier(seeded, "a25", 0.7), tier(seeded, "a100", 0.7)
    one.experiment["guards"]["margin"], other.experiment["guards"]["margin"] = 0.02, 0.01
    (row,) = rows_of(one, other)
    assert (row["margin"], row["margin from"]) == (0.01, "declared in the experiment files")
    (row,) = rows_of(one, other, margin=0.5)
    assert (row["margin"], row["margin from"]) == (0.5, "given as an option")


# --- fresh seeds ----------------------------------------------------------------------------------------------------


def test_g14_without_fresh_seeds_of_both_nothing_is_decided(seeded: Make) -> None:
    """The search's values are compared, and called optimistic; the missing trainings have a command and a duration."""
    one, other = tier(seeded, "a25", 0.7), tier(seeded, "a100", 0.3, seeds=0)
    result = analyse(one, other)
    (row,) = result.data["comparisons"]
    assert (row["verdict"], row["fresh"], row["detectable"]) == ("inconclusive", False, None)
    assert row["high"] < 0  # over the windows alone
    assert result.summary[1].endswith(
        "over 400 windows: inconclusive without fresh seeds of both; the search selected the value of a100-study and "
        "of a25-study, so it is optimistic."
    )
    assert result.summary[2] == "Fresh seeds are missing for a100-study: 5 trainings, about 5 min 00 s on one slot."
    assert result.tables["Missing for a verdict"] == [
        {
            "study": "a100-study",
            "trainings": 5,
            "duration": "5 min 00 s",
            "command": f"scalecore confirm {other.folder} --top 1 --seeds 5",
        }
    ]


def test_two_seeds_are_too_few(seeded: Make) -> None:
    """Even for a large difference."""
    result = analyse(tier(seeded, "a25", 0.7, seeds=2), tier(seeded, "a100", 0.3))
    assert result.summary[1].endswith("5 against 2 fresh seeds: inconclusive with fewer than 3 fresh seeds.")
    assert result.summary[2] == "Fresh seeds are missing for a25-study: 3 trainings, about 3 min 00 s on one slot."


def test_a_metric_of_unknown_direction_is_refused(seeded: Make) -> None:
    """Unless it is the objective."""
    with pytest.raises(
        RefusedError, match=r"^coverage: unknown whether larger is better; name a metric of scalecore, "
    ):
        analyse(tier(seeded, "a25", 0.7), tier(seeded, "a100", 0.7), metric="coverage")


def test_the_search_chooses_among_confirmed_configurations(seeded: Make, tmp_path: Path) -> None:
    """Not the replicates: a worse trial that was confirmed with better values does not represent the study."""
    view = tier(seeded, "a25", 0.7)
    lucky = [
        trial(
            10 + number,
            0.1,
            hash=f"lucky-{number}",
            origin=Origin(kind="replicate"),
            architecture=view.trials[1].architecture,
            hyperparameters=dict(view.trials[1].hyperparameters),
        )
        for number in range(5)
    ]
    view = evolve(view, confirmations=(*view.confirmations, *lucky))
    (row,) = rows_of(view, tier(seeded, "a100", 0.7))
    assert row["of reference"] == pytest.approx(0.7, abs=0.05)


# --- windows --------------------------------------------------------------------------------------------------------


def test_g53_studies_are_compared_on_their_common_windows(seeded: Make) -> None:
    """The windows that one of them lacks are counted."""
    one, other = tier(seeded, "a25", 0.7), tier(seeded, "a100", 0.6, start=30)
    result = analyse(one, other)
    (row,) = result.data["comparisons"]
    assert (row["windows"], row["left out"]) == (370, [30, 30])
    assert "over 370 windows (left out: 30 of a100-study, 30 of a25-study) and 5 against 5" in result.summary[1]
    assert row["trainings"]["reference"]["values"] == pytest.approx(losses_of(one)[:, 30:].mean(axis=1))


def test_too_few_common_windows_are_refused(seeded: Make) -> None:
    """At least a hundred that do not overlap, unless the user asks for fewer."""
    one, other = tier(seeded, "a25", 0.7), tier(seeded, "a100", 0.6, start=300)
    with pytest.raises(RefusedError) as error:
        analyse(one, other)
    first, last = other.plan.data.parts["val"].samples
    assert str(error.value) == (
        "no two studies can be compared:\n"
        f"  a100-study: 100 common validation windows with a25-study (its own: {first} .. {last}), 50 effective; at "
        "least 100 are required (min_samples)"
    )
    assert rows_of(one, other, min_samples=50)[0]["windows"] == 100


def test_all_studies_of_a_group_share_their_windows(seeded: Make) -> None:
    """One with too few is not compared, with the reason, and costs the others no window."""
    one, other = tier(seeded, "a25", 0.7), tier(seeded, "a50", 0.6, start=30)
    result = analyse(one, other, tier(seeded, "a100", 0.6, start=300))
    assert [(row["study"], row["windows"]) for row in result.data["comparisons"]] == [("a50-study", 370)]
    (row,) = result.tables["Not compared"]
    assert row["study"] == "a100-study"
    assert row["reason"].startswith("100 common validation windows with a25-study ")


def test_without_predictions_only_equal_windows_are_compared(seeded: Make) -> None:
    """The interval then covers seeds only."""

    def bare(view: StudyView) -> StudyView:
        return evolve(view, confirmations=tuple(changed(one, predictions=None) for one in view.confirmations))

    one, other = tier(seeded, "a25", 0.7), bare(tier(seeded, "a100", 0.6))
    result = analyse(one, other)
    assert result.data["comparisons"][0]["verdict"] == "better"
    assert (
        "a100-study against a25-study: the interval covers seeds only, because the predictions of replicate 4 were not "
        "stored." in result.notes
    )
    split = other.plan.data.split.plain()
    split["parts"]["val"]["hash"] = "other"
    with pytest.raises(RefusedError, match="its validation windows are not those of a25-study, and the predictions of"):
        analyse(one, with_plan(other, data={"split": split}))


# --- refusals -------------------------------------------------------------------------------------------------------


def test_g07_other_labels_of_the_same_target_are_refused_unless_allowed(seeded: Make) -> None:
    """For example of another symbol: the definition is equal, what is predicted is not."""
    labels = labels_of()
    labels[:7] = 1 - labels[:7]
    one, other = tier(seeded, "a25", 0.7), tier(seeded, "a100", 0.6, labels=labels)
    with pytest.raises(RefusedError) as error:
        analyse(one, other)
    assert str(error.value) == (
        "no two studies can be compared:\n"
        "  a100-study: its labels differ from those of a25-study in 7 of 400 common windows, so the studies predict "
        "different things; allow=[labels] compares them anyway"
    )
    assert rows_of(one, other, allow=["labels"])[0]["verdict"] == "better"


def test_g07_other_targets_and_objectives_are_refused_unless_allowed(seeded: Make) -> None:
    """A note repeats what was allowed."""
    one, other = tier(seeded, "a25", 0.7), tier(seeded, "a100", 0.6)
    target = {**other.plan.data.target.plain(), "horizon": 5, "hash": "other"}
    far = with_plan(other, data={"target": target})
    far.experiment["objective"]["metric"] = "brier"
    with pytest.raises(RefusedError) as error:
        analyse(one, far)
    assert str(error.value) == (
        "no two studies can be compared:\n"
        "  a25-study and a100-study: horizon 2 against 5; metric val_loss against brier; tier a25 against a100 (25 "
        "against 100 features)\n"
        "Name other studies, or allow the difference: allow=[target,metric] [G07]"
    )
    result = analyse(one, far, allow=["target", "metric"], min_samples=80)
    assert result.summary[1].startswith(
        "Horizon 5 against 2; metric brier against val_loss; tier a100 against a25 (100 against 25 features): val_loss "
    )
    assert (
        "a100-study and a25-study differ in target, which `allow` permits: their values are not comparable."
        in result.notes
    )


def test_one_study_is_not_enough(seeded: Make) -> None:
    """Nor are two with the same settings, such as copies."""
    with pytest.raises(RefusedError, match=r"^a comparison needs at least two studies \[G07\]$"):
        analyse(tier(seeded, "a25", 0.7))
    with pytest.raises(RefusedError, match="one and two: equal settings"):
        analyse(seeded("one"), seeded("two"))


# --- pairs ----------------------------------------------------------------------------------------------------------


def fixed(make: Make, name: str, level: float = 0.7, **changes: Any) -> StudyView:
    """A study of one trial."""
    return make(name, level, trials=1, budget=None, **changes)


def test_a_search_is_compared_with_the_fixed_configuration_at_every_budget(seeded: Make) -> None:
    """A study of one trial is the reference, whatever its size."""
    studies = seeded("small", 0.6, budget="1k"), seeded("large", 0.5, budget="2k"), fixed(seeded, "usual", width=16)
    result = analyse(*studies)
    assert [(row["study"], row["reference"], row["at"]) for row in result.data["comparisons"]] == [
        ("small", "usual", "budget 1k"),
        ("large", "usual", "budget 2k"),
    ]
    assert result.summary[1].startswith(
        "Search (random, 3 trials) against the fixed configuration at budget 1k (64 against 256 parameters): val_loss "
    )
    (overall,) = result.tables["Verdicts by comparison"]
    assert overall["comparison"] == "search (random, 3 trials) against the fixed configuration"
    assert (overall["comparisons"], overall["better"], overall["inconclusive"]) == (2, 2, 0)
    differing = {row["setting"] for row in result.tables["What differs"]}
    assert differing == {"search.trials"}


def test_a_fixed_configuration_is_not_optimistic(seeded: Make) -> None:
    """Its value selected nothing."""
    result = analyse(seeded("searched", seeds=0), fixed(seeded, "usual", seeds=0, width=16))
    assert result.summary[1].endswith("; the search selected the value of searched, so it is optimistic.")


def test_the_same_configuration_is_equivalent(seeded: Make) -> None:
    """With or without fresh seeds: the search found what everybody uses."""

    for seeds in (5, 0):
        usual, found = fixed(seeded, "usual", seeds=seeds), seeded("searched", seeds=seeds, chance=1)
        result = analyse(usual, found)
        assert result.data["comparisons"][0]["verdict"] == "equivalent"
        assert result.summary[1].endswith(": equivalent, because both are the same configuration.")
        other = fixed(seeded, "other", seeds=seeds, width=16)
        assert analyse(other, found).data["comparisons"][0]["verdict"] == "inconclusive"


def test_equal_trainings_are_equivalent(seeded: Make) -> None:
    """A setting that differs may have no effect: the trials' hashes are equal then."""
    one = tier(seeded, "a25", 0.7)
    other = seeded("other", features=25, settings={"dataset.tier": "a25", "dataset.warm_up": "own"})
    assert rows_of(one, other)[0]["verdict"] == "inconclusive"
    same = [
        evolve(record, hash=known.hash) for record, known in zip(other.confirmations, one.confirmations, strict=True)
    ]
    assert rows_of(one, evolve(other, confirmations=tuple(same)))[0]["verdict"] == "equivalent"


def test_a_campaign_has_one_comparison_for_each_budget_and_horizon(seeded: Make) -> None:
    """Studies whose only difference is the compared thing; never different targets."""
    studies = []
    for name in ("a100", "a25"):
        for budget in ("1k", "2k"):
            for horizon in (1, 3):
                view = seeded(
                    f"{name}-{budget}-{horizon}", features=int(name[1:]), settings={"dataset.tier": name}, budget=budget
                )
                target = {**view.plan.data.target.plain(), "horizon": horizon, "hash": str(horizon)}
                studies.append(with_plan(view, data={"target": target}))
    result = analyse(*studies)
    rows = result.data["comparisons"]
    assert [(row["study"], row["reference"], row["at"]) for row in rows] == [
        (f"a100-{budget}-{horizon}", f"a25-{budget}-{horizon}", f"horizon {horizon}, budget {budget}")
        for budget in ("1k", "2k")
        for horizon in (1, 3)
    ]
    assert {row["comparison"] for row in rows} == {"tier a100 against a25 (100 against 25 features)"}
    assert result.tables["Verdicts by comparison"][0]["comparisons"] == 4
    # The other tier as the reference.
    rows = rows_of(*studies, reference="a100")
    assert {(row["study"], row["reference"]) for row in rows} == {
        (f"a25-{budget}-{horizon}", f"a100-{budget}-{horizon}") for budget in ("1k", "2k") for horizon in (1, 3)
    }


def test_tiers_and_families_are_compared_each_with_the_other_equal(seeded: Make) -> None:
    """`by` chooses one of them."""
    studies = [
        seeded(f"{name}-{model}", features=int(name[1:]), settings={"dataset.tier": name, "model.use": model})
        for name in ("a25", "a100")
        for model in ("linear", "patchtst")
    ]
    pairs = [(row["study"], row["reference"]) for row in rows_of(*studies)]
    tiers = [("a100-linear", "a25-linear"), ("a100-patchtst", "a25-patchtst")]
    families = [("a25-patchtst", "a25-linear"), ("a100-patchtst", "a100-linear")]
    assert pairs == [*tiers, *families]
    assert [(row["study"], row["reference"]) for row in rows_of(*studies, by=["model"])] == families
    rows = rows_of(*studies, by=["model"], reference="patchtst")
    assert [row["comparison"] for row in rows] == ["model linear against patchtst"] * 2
    assert [row["at"] for row in rows] == ["tier a25", "tier a100"]


def test_the_name_of_a_study_compares_all_others_with_it(seeded: Make) -> None:
    """All differences are in the sentence."""
    one = tier(seeded, "a25", 0.7)
    settings = {"model.use": "patchtst", "seed": 3, "dataset.context": 40}
    other = seeded("b", features=60, settings=settings)
    result = analyse(one, other, reference="b")
    model = one.experiment["model"]["use"]
    assert result.summary[1].startswith(
        f"25 against 60 features; model {model} against patchtst; context 4 against 40; seed "
        f"{one.experiment['seed']} against 3 (64 against 64 parameters): val_loss "
    )
    with pytest.raises(RefusedError) as error:
        analyse(one, other, reference="c")
    assert str(error.value) == (
        "no study has the name or value 'c': reference must be the name of a study (a25-study, b), a tier, a model, a "
        "search strategy, a budget, or `fixed`"
    )


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"model.use": "patchtst"}, "Model patchtst against linear"),
        ({"dataset.context": 40}, "Context 40 against 4"),
        ({"dataset.normalise": "none"}, "Normalise none against standard"),
        ({"seed": 5}, "Seed 5 against 0"),
        ({"search.use": "architectural"}, "Search (architectural, 3 trials) against search (random, 3 trials)"),
        ({"search.inner": "tpe"}, "Inner tpe against none"),
        ({"training.schedule": "constant"}, "Schedule constant against cosine"),
        ({"search.budget": "9k"}, "Budget 9k against 1k"),
    ],
)
def test_what_differs_is_named(seeded: Make, settings: dict[str, Any], text: str) -> None:
    """In the words of the experiment file."""
    one = seeded("one", settings={"model.use": "linear", "seed": 0})
    other = seeded("two", settings={"model.use": "linear", "seed": 0} | settings)
    result = analyse(one, other)
    assert result.summary[1].partition(": val_loss ")[0].removesuffix(" (64 against 64 parameters)") == text
    (row,) = result.tables["What differs"]
    assert row["setting"].split(".")[-1] == next(iter(settings)).split(".")[-1]


def test_the_plan_names_the_comparisons_and_what_they_need(seeded: Make) -> None:
    """Before a campaign begins, from the fresh seeds that the analyses before it will train."""
    studies = [evolve(tier(seeded, name, 0.7), trials=(), confirmations=()) for name in ("a25", "a100")]
    analysis = CompareAnalysis(CompareOptions())
    contrast = "tier a100 against a25 (100 against 25 features)"
    assert analysis.plan(studies, wanted=()).lines == [
        contrast,
        "verdicts: inconclusive, because 0 fresh seeds of a study are planned and a verdict needs 3; add "
        "`confirm: {top: 1, seeds: 5}` to the experiment file",
    ]
    wanted = [PlannedTraining(study=one.name, configuration="best", seeds=5) for one in studies]
    assert analysis.plan(studies, wanted=wanted).lines == [
        contrast,
        "smallest detectable difference: 2 standard deviations between seeds, with 5 seeds of each study; the choice "
        "of windows adds to it",
    ]


# --- features, page -------------------------------------------------------------------------------------------------


def test_the_loss_is_listed_by_number_of_features(seeded: Make) -> None:
    """With parameters, interval, and the difference to the smallest; the page has the figure."""
    studies = [tier(seeded, name, level) for name, level in (("a100", 0.6), ("a25", 0.7), ("a50", 0.65))]
    result = analyse(*studies, figures=["svg"], tables=["csv"])
    rows = result.tables["Loss against number of features"]
    assert [row["features"] for row in rows] == [25, 50, 100]
    assert [row["parameters"] for row in rows] == [64, 64, 64]
    assert rows[0]["difference"] is None
    for row in rows[1:]:
        assert row["difference"] == pytest.approx(row["val_loss"] - rows[0]["val_loss"])
        assert row["low"] < row["val_loss"] < row["high"]
    page = result.files["compare.html"]
    assert all(address.startswith("#") for address in addresses_of(page))
    assert len(figures_of(page)) == 2
    assert result.summary[1] in page
    assert {"Differences-with-intervals.svg", "Loss-by-number-of-features.svg", "compare.html"} < set(result.files)
    table = result.files["tables/loss-against-number-of-features.csv"]
    assert isinstance(table, str)
    assert table.splitlines()[0].startswith("study,features,parameters,seeds,val_loss,low,high,difference,")


def test_a_study_without_a_completed_trial_is_not_compared(seeded: Make) -> None:
    """The others are; if there are none, the reason is the message."""
    one, other = tier(seeded, "a25", 0.7), tier(seeded, "a50", 0.6)
    empty = evolve(tier(seeded, "a100", 0.6), trials=(trial(0, state="failed"),), confirmations=())
    result = analyse(one, other, empty)
    assert [row["study"] for row in result.data["comparisons"]] == ["a50-study"]
    reason = "no completed trial has the metric 'val_loss'"
    assert result.tables["Not compared"] == [{"study": "a100-study", "reason": reason}]
    with pytest.raises(RefusedError) as error:
        analyse(one, empty)
    assert str(error.value) == f"no two studies can be compared:\n  a100-study: {reason}"
