from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from scalecore.api.space import ArchitectureSpace, DataShape
from scalecore_analysis.importing.path_claims import contradictions, label_of
from scalecore_analysis.importing.readers import read_old_results
from scalecore_analysis.importing.record_shapes import RecordShapes
from scalecore_analysis.importing.summary import ImportSummary, summarise
from scalecore_analysis.importing.summary_text import summary_lines
from scalecore_torch.linear import LinearFamily


class Grid(LinearFamily):
    """Each unit of width has a million parameters per layer; `size` is derived from the width."""

    def architecture_space(self, data: DataShape) -> ArchitectureSpace:
        widths, depths = (1, 2, 4, 8), (1, 2, 3, 4, 5)
        return ArchitectureSpace(
            dimensions={"width": widths, "depth": depths},
            architectures=tuple({"width": width, "depth": depth} for width in widths for depth in depths),
            derived={"size": lambda one: one["width"] * 10},
        )

    def num_parameters(self, architecture: Any, data: DataShape) -> int:
        return int(1_000_000 * architecture["width"] * architecture["depth"])


def trial(number: int, value: float = 0.5, **changes: Any) -> dict[str, Any]:
    """A trial of about 4M parameters, with a different configuration for each number."""
    params = {"width": 2, "depth": 2, "learning_rate": 1e-4 * (1 + number)}
    return {"number": number, "value": value, "state": "COMPLETE", "params": params, **changes}


def look(folder: Path, files: dict[str, Any], *, maximize: bool = False) -> ImportSummary:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))
    shapes = RecordShapes(Grid(), DataShape(context=20, features=3, outputs=1))
    return summarise(
        read_old_results([folder / name for name in files]),
        shapes=shapes,
        parameters=["learning_rate"],
        tolerance=0.25,
        maximize=maximize,
        project=folder,
    )


SHAPES = ((1, 4), (2, 2), (2, 3), (4, 1), (1, 5))
"""Shapes of 4M to 6M parameters."""


def clean() -> list[dict[str, Any]]:
    """A study of 5M on one day's direction; its best trial has the middle values."""
    return [
        {
            "number": number,
            "value": 0.4 + 0.01 * abs(number - 1),
            "state": "TrialState.COMPLETE",
            "params": {"width": width, "depth": depth, "learning_rate": 1e-4 * (1 + number), "dropout": 0.1},
            "user_attrs": {"auc": 0.625, "experiment": "spy_h1_5M", "tier": "a25", "horizon": 1, "budget": "5M"},
        }
        for number, (width, depth) in enumerate(SHAPES)
    ]


def test_a_valid_file_has_no_findings(tmp_path: Path) -> None:
    """Equal AUCs, marks of forced trials, and success of all trials are no faults."""
    records = clean()
    records[0]["user_attrs"]["forced_reason"] = "middle"
    found = look(tmp_path, {"a25/spy_h1_5M_all_trials.json": records})
    assert "\n".join(summary_lines(found)) == (
        "Summary of 1 file\n"
        "  trials: 5 (5 completed)\n"
        "  exact repeats: 0 of 5\n"
        "  within the labelled budget: 5 of 5, counted for a context of 20 and 3 features\n"
        "    5M (3,750,000 to 6,250,000): 5 of 5, 4,000,000 to 6,000,000 parameters\n"
        "  content against path: 0 of 5 contradict\n"
        "  forced trials: 1, 0 with empty params\n"
        "  optimum at an edge: in 0 of 1 study"
    )


def test_the_faults_of_several_files_are_one_summary(tmp_path: Path) -> None:
    """A list in a folder of another budget, trial files of another experiment, and a table."""
    wrong = clean()
    wrong[3]["user_attrs"]["budget"] = 20_000_000
    wrong[4] = {**wrong[2], "number": 4}
    forced = {"number": 0, "value": 0.3, "state": "COMPLETE", "params": {}}
    by_name = {**forced, "user_attrs": {"forced_size": 80, "forced_depth": 5, "experiment": "spy_h5_5M"}}
    bare = {**forced, "number": 1}
    table = "number,state,value,width,depth,budget\n" + "".join(
        f"{number},COMPLETE,{0.3 + number},8,{depth},{budget}\n"
        for number, (depth, budget) in enumerate([(1, "9m"), (2, "9m"), (3, "9m"), (4, "200M")])
    )
    found = look(
        tmp_path,
        {
            "50M/spy_h1_5m_all_trials.json": wrong,
            "spy_h1_5M/trials/trial_0000.json": by_name,
            "spy_h1_5M/trials/trial_0001.json": bare,
            "results.csv": table,
            "empty.json": "",
        },
    )
    assert "\n".join(summary_lines(found)).replace(f"{tmp_path}/", "") == (
        "Summary of 5 files\n"
        "  trials: 11 (11 completed)\n"
        "    1 record cannot be read\n"
        "  exact repeats: 1 of 11\n"
        "    1 with exactly the same value, 0 of them in another study\n"
        "  within the labelled budget: 6 of 11, counted for a context of 20 and 3 features\n"
        "    5m (3,750,000 to 6,250,000): 5 of 7, 4,000,000 to 40,000,000 parameters; unknown for 1 without a "
        "complete architecture\n"
        "    9m (6,750,000 to 11,250,000): 1 of 3, 8,000,000 to 24,000,000 parameters\n"
        "    200M (150,000,000 to 250,000,000): 0 of 1, 32,000,000 parameters\n"
        "  content against path: 6 of 6 contradict\n"
        "    50M/spy_h1_5m_all_trials.json: budget '5M', but the path has '50M' (4 records)\n"
        "    50M/spy_h1_5m_all_trials.json: budget '20000000', but the path has '5m' (1 record)\n"
        "    spy_h1_5M/trials/trial_0000.json: experiment 'spy_h5_5M', but the path has 'h1' (1 record)\n"
        "    unknown for 5: path or content names no budget, tier or experiment\n"
        "  forced trials: 2, 2 with empty params\n"
        "    unknown for 1: the record names no architecture of this model\n"
        "  optimum at an edge: in 1 of 4 studies\n"
        "    results.csv: best is trial 0 (0.3): depth=1 is the smallest value tried (also of the model's grid)\n"
        "    unknown for 2: fewer than 3 values of each dimension have a result"
    )


def test_the_best_trial_depends_on_the_direction(tmp_path: Path) -> None:
    """The largest value of a study that maximises; the grid may extend beyond the tried values."""
    records = [trial(number, 0.5 + 0.1 * number) for number in range(3)]
    for number, record in enumerate(records):
        record["params"]["depth"] = 2 + number
    (edge,) = look(tmp_path, {"old.json": records}, maximize=True).edges
    path = tmp_path / "old.json"
    assert edge == f"{path}: best is trial 2 (0.7): depth=4 is the largest value tried (the model's grid has 5)"
    (edge,) = look(tmp_path, {"old.json": records}).edges
    assert edge == f"{path}: best is trial 0 (0.5): depth=2 is the smallest value tried (the model's grid has 1)"


def test_exact_repeats_are_found_by_configuration(tmp_path: Path) -> None:
    """In any form; another seed, an unfinished trial, and another value in another file are no repeats."""
    same = trial(0)
    again = {**same, "number": 1, "params": {"size": 20.0, "depth": "2", "learning_rate": 1e-4}}
    forced = {**same, "number": 2, "value": 0.6, "params": {}}
    forced["user_attrs"] = {f"forced_{name}": value for name, value in same["params"].items()}
    forced["user_attrs"]["forced_reason"] = "min depth"
    failed = {**trial(5), "state": "FAIL", "value": None}
    files = {
        "a.json": [same, again, forced, {**same, "seed": 7}, failed, trial(5)],
        "b.json": [same, {**same, "value": 0.7}, trial(9, 0.55), trial(5, 0.7)],
    }
    found = look(tmp_path, files)
    assert (found.exact_repeats, found.repeats_with_the_same_value, found.repeats_of_another_study) == (4, 2, 1)


def test_another_horizon_or_seed_in_a_file_is_no_repeat(tmp_path: Path) -> None:
    """From any place in the trial; exactly the same value is still a repeat."""
    apart = [trial(0, 0.5 + value / 10, user_attrs={"horizon": 1 + value}) for value in range(2)]
    apart += [trial(1, 0.5 + value / 10, user_attrs={"seed": value}) for value in range(2)]
    copied = [trial(2, user_attrs={"horizon": horizon}) for horizon in (1, 5)]
    found = look(tmp_path, {"old.json": [*apart, *copied]})
    assert (found.exact_repeats, found.repeats_with_the_same_value, found.repeats_of_another_study) == (1, 1, 1)


def test_a_label_may_be_in_the_content_only(tmp_path: Path) -> None:
    """As a budget, or in the name of the experiment; without either the label is unknown."""
    for claims, labels in (({"budget": "4m"}, ["4m"]), ({"experiment": "spy_4M_h1"}, ["4M"]), ({}, [])):
        found = look(tmp_path, {"old.json": [trial(0, user_attrs=claims)]})
        assert ([one.label for one in found.labels], found.unlabelled) == (labels, 1 - len(labels))


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("spy_20m_h1", ("20m", 20_000_000)),
        ("20M", ("20M", 20_000_000)),
        ("spy-1.5B-a25", ("1.5B", 1_500_000_000)),
        ("spy_5m_200M", ("200M", 200_000_000)),
        ("spy_2M_20M", None),
        ("spy20M", None),
        ("0M", None),
        ("h1_a25_2024", None),
    ],
)
def test_labels_of_budgets_are_read_in_both_cases(name: str, label: tuple[str, int] | None) -> None:
    """In `5m_200M`, `5m` is the length of a bar; two budgets make the label ambiguous."""
    assert label_of(name) == label


@pytest.mark.parametrize(
    ("path", "claims", "expected"),
    [
        ("20m/x.json", {"budget": "20M"}, []),
        ("20M/x.json", {"budget": 2e7}, []),
        ("2M/x_20M.json", {"budget": "20M"}, ["budget '20M', but the path has '2M'"]),
        ("2M/x_20M.json", {}, ["the file name has 20M, the folder name 2M"]),
        ("x.json", {"budget": "20M"}, None),
        ("2M/x.json", {}, None),
        ("a25/x.json", {"tier": "a50"}, ["tier 'a50', but the path has 'a25'"]),
        ("x_A25.json", {"tier": "a25"}, []),
        ("a50/x_a25.json", {"tier": "a25"}, ["tier 'a25', but the path has 'a50'"]),
        ("raw/x.json", {"tier": "a25"}, None),
        ("x_h1.json", {"horizon": 5}, ["horizon '5', but the path has 'h1'"]),
        ("x_h5.json", {"horizon": "5"}, []),
        ("x_h5.json", {"horizon": "h1"}, ["horizon '1', but the path has 'h5'"]),
        ("alpha_all_trials.json", {"experiment": "beta"}, ["experiment 'beta', but the path has 'alpha_all_trials'"]),
        ("spy_20M_best.json", {"experiment": "spy_h1"}, None),
        ("alpha/trials/trial_0001.json", {"experiment": "beta"}, None),
        ("exp_a/trials/trial_0001.json", {"experiment": "exp_b"}, ["experiment 'exp_b', but the path has 'exp_a'"]),
        ("phase6a_x.json", {"experiment": "phase6b_x"}, ["experiment 'phase6b_x', but the path has 'phase6a'"]),
        ("phase6/phase6a_x.json", {"experiment": "phase6a_x"}, []),
        ("all_trials.json", {"experiment": "spy"}, None),
        ("experiment_results.json", {"experiment": "spy"}, None),
        ("download.json", {"experiment": "spy"}, None),
        ("gamma.json", {"experiment": "spy"}, ["experiment 'spy', but the path has 'gamma'"]),
    ],
)
def test_content_is_compared_with_the_names_of_file_and_folders(
    tmp_path: Path, path: str, claims: dict[str, Any], expected: list[str] | None
) -> None:
    """Only a name of the same kind contradicts; `gamma` is an experiment, because other records name it."""
    look(tmp_path, {path: [trial(0, user_attrs=claims)]})
    (record,) = read_old_results([tmp_path / path])
    assert contradictions(record, experiments=["gamma"], project=tmp_path) == expected


def test_folders_that_contain_the_project_are_ignored(tmp_path: Path) -> None:
    """A project of 2M may contain results of 20M; for results outside, the names of two folders are read."""
    project, claims = tmp_path / "phase_2M", {"budget": "20M", "tier": "a25"}
    for name, expected in (
        ("phase_2M/x.json", None),
        ("phase_2M/old/20M/x.json", []),
        ("phase_2M/old_a50/x.json", ["tier 'a25', but the path has 'a50'"]),
        ("phase_200M/x.json", ["budget '20M', but the path has '200M'"]),
        ("phase_200M/b/c/x.json", None),
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps([trial(0, user_attrs=claims)]))
        (record,) = read_old_results([path])
        assert contradictions(record, experiments=[], project=project) == expected, name
