"""The content of a study's files, from made-up records."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scalecore.api.logger import LoggerContext
from scalecore.api.trials import Origin, StudyEnd, StudyView, TrialState
from scalecore.builtin.files import FilesLogger
from scalecore.builtin.options import FilesOptions
from scalecore.builtin.study_files import (
    all_trials,
    best_file,
    distribution,
    spearman,
    study_summary,
    trial_file,
)
from scalecore.builtin.summary_page import summary_markdown

from .conftest import COLLAPSED, MATRIX, trial

Make = Callable[..., StudyView]

ENDED_BADLY = [
    ("failed", "ValueError: the batch is cursed"),
    ("out_of_memory", "does not fit even with a micro-batch of 1"),
    ("diverged", "training loss is nan in epoch 1, step 3"),
    ("timed_out", "no step for 600 s (execution.hang_after) [G45]"),
]


def strict(content: Any) -> Any:
    """Encode as JSON and decode again; refuse NaN and Infinity."""
    return json.loads(json.dumps(content, allow_nan=False))


def table(markdown: str, heading: str) -> list[list[str]]:
    """The cells of the table under a heading, with its header."""
    lines = markdown.split(f"## {heading}\n\n")[1].split("\n\n")[0].splitlines()
    assert set(lines[1]) <= set("| -")
    rows = [lines[0], *lines[2:]]
    return [[cell.strip() for cell in row.replace("\\|", "\0").strip("|").split("|")] for row in rows]


def test_g20_the_trial_file_has_the_architecture_and_every_parameter(study: Make) -> None:
    """A forced trial has its values in the same place."""
    record = trial(7, 0.4, origin=Origin(kind="forced", label="width:max", reason="width at its feasible maximum (16)"))
    content = strict(trial_file(record))
    assert content["number"] == 7
    assert content["state"] == "completed"
    assert content["params"] == {"width": 8, "depth": 2, "learning_rate": 0.008, "epochs": 50}
    assert content["architecture"] == {"width": 8, "depth": 2, "param_count": 128}
    assert content["origin"]["label"] == "width:max"
    assert content["user_attrs"]["confusion_matrix"] == MATRIX
    best = strict(best_file(study([record])))
    assert best["architecture"] == content["architecture"]
    assert best["best_params"] == content["params"]
    assert best["origin"] == "forced width:max"


@pytest.mark.parametrize(("direction", "winner"), [("minimize", 2), ("maximize", 1)])
def test_g09_a_collapsed_trial_never_wins_while_a_healthy_one_exists(study: Make, direction: str, winner: int) -> None:
    """For any value and direction; it stays in the tables with its flag."""
    values = [0.1, 0.6, 0.5] if direction == "minimize" else [0.9, 0.6, 0.5]
    records = [trial(number, value) for number, value in enumerate(values)]
    records[0] = trial(0, values[0], flags=[COLLAPSED])
    view = study(records, direction=direction)
    best = best_file(view)
    assert (best["best_trial"], best["collapsed"]) == (winner, False)
    assert f"Best: trial {winner} with val_loss {values[winner]:.4f}." in summary_markdown(view)
    assert {row["number"]: row["flags"] for row in all_trials(view)} == {0: ["G09"], 1: [], 2: []}


def test_g19_a_rate_over_few_windows_never_wins_while_a_healthy_trial_exists(study: Make) -> None:
    """It ranks after healthy trials and before collapsed ones; if it is the best, the files report that."""
    few = {"guard": "G19", "kind": "small_denominator", "text": "precision 1.0000 is a rate over 1 window"}
    records = [trial(0, 1.0, flags=[COLLAPSED]), trial(1, 1.0, flags=[few]), trial(2, 0.3), trial(3, 0.4)]
    view = study(records, direction="maximize")
    assert best_file(view)["best_trial"] == 3
    assert [row["number"] for row in all_trials(view)] == [3, 2, 1, 0]
    assert "is no result" not in summary_markdown(view)
    page = summary_markdown(study(records[:2], direction="maximize"))
    assert "No completed trial has a value over enough windows: not a valid result [G19].\n" in page


def test_g09_if_all_have_collapsed_the_best_is_marked(study: Make) -> None:
    """The best trial is marked as collapsed."""
    best = best_file(study([trial(0, 0.7, flags=[COLLAPSED]), trial(1, 0.6, flags=[COLLAPSED])]))
    assert (best["best_trial"], best["collapsed"]) == (1, True)


def test_g21_trial_zero_and_value_zero_are_not_missing(study: Make) -> None:
    """Zero is valid as a trial's number, value or hyper-parameter."""
    record = trial(0, 0.0, hyperparameters={"learning_rate": 0.0, "epochs": 0})
    view = study([record, trial(1, 0.5)])
    best = strict(best_file(view))
    assert (best["best_trial"], best["best_value"]) == (0, 0.0)
    assert best["best_params"]["epochs"] == 0
    assert [(row["number"], row["value"]) for row in all_trials(view)] == [(0, 0.0), (1, 0.5)]
    assert "Best: trial 0 with val_loss 0.0000." in summary_markdown(view)


def test_g25_missing_is_null_and_never_a_number(study: Make) -> None:
    """Missing and non-finite values are null in JSON and empty in Markdown; states are words."""
    failed = trial(1, state="failed", reason="ValueError: x", duration=None, started=None)
    record = trial(0, 0.5, throughput=math.nan, memory={"predicted": 5, "measured": math.inf})
    content = strict(trial_file(record))
    assert content["user_attrs"]["throughput"] is None
    assert content["user_attrs"]["memory"] == {"predicted": 5, "measured": None}
    content = strict(trial_file(failed))
    assert (content["state"], content["value"], content["duration"]) == ("failed", None, None)
    assert content["user_attrs"]["confusion_matrix"] is None
    view = study([record, failed])
    rows = {row["number"]: row for row in strict(all_trials(view))}
    assert rows[0]["auc"] is None
    assert [rows[1][name] for name in ("value", "val_loss", "accuracy", "best_epoch", "last_value")] == [None] * 5
    cells = dict(zip(*[table(summary_markdown(view), "Trials")[index] for index in (0, 2)], strict=True))
    assert (cells["#"], cells["value"]) == ("1", "")


def test_g27_every_state_appears_with_its_reason(study: Make) -> None:
    """Counts, all trials and summary have failed, pruned and diverged trials."""
    records = [trial(n, state=state, reason=reason) for n, (state, reason) in enumerate(ENDED_BADLY)]
    records += [trial(4, 0.45, state="pruned", reason="pruned by the strategy after epoch 3"), trial(5, 0.5)]
    view = study(records, running=(6, 7), total=20)
    counts = {
        "completed": 1,
        "pruned": 1,
        "failed": 1,
        "out_of_memory": 1,
        "diverged": 1,
        "timed_out": 1,
        "running": 2,
        "total": 20,
    }
    assert best_file(view)["counts"] == counts
    summary = strict(study_summary(view))
    assert summary["counts"] == counts
    assert set(counts) == {*TrialState, "running", "total"}
    rows = {row["number"]: (row["state"], row["reason"]) for row in summary["trials"]}
    assert rows == {record.number: (str(record.state), record.reason) for record in records}
    shown = {cells[0]: cells[1] for cells in table(summary_markdown(view), "Trials")[1:]}
    assert shown["0"] == "failed: ValueError: the batch is cursed"
    assert shown["4"] == "pruned: pruned by the strategy after epoch 3"
    assert "6 of 20 trials finished. 1 completed, 1 pruned, 1 failed" in summary_markdown(view)


def test_g35_only_completed_trials_compete(study: Make) -> None:
    """A pruned trial has a value but is neither the best nor part of a statistic."""
    view = study([trial(0, 0.5), trial(1, 0.1, state="pruned", reason="pruned"), trial(2, 0.7)])
    assert best_file(view)["best_trial"] == 0
    assert [row["number"] for row in all_trials(view)] == [0, 2, 1]
    summary = study_summary(view)
    assert summary["distribution"]["count"] == 2
    assert summary["distribution"]["min"] == 0.5
    assert summary["by_dimension"]["width"] == [
        {"width": 8, "trials": 1, "completed": 0, "best": None, "mean": None},
        {"width": 16, "trials": 2, "completed": 2, "best": 0.5, "mean": 0.6},
    ]


def test_all_trials_are_sorted_by_value(study: Make) -> None:
    """Completed ones from best to worst, ties by number, then the others by number."""
    values = [0.7, 0.5, None, 0.5, 0.9, None]
    records = [
        trial(n, value) if value is not None else trial(n, state="failed", reason="x") for n, value in enumerate(values)
    ]
    records.reverse()
    assert [row["number"] for row in all_trials(study(records))] == [1, 3, 0, 4, 2, 5]
    assert [row["number"] for row in all_trials(study(records, direction="maximize"))] == [4, 0, 1, 3, 2, 5]


def test_a_study_without_a_completed_trial(study: Make) -> None:
    """The files report what is missing, also before the first trial."""
    for records in ([], [trial(0, state="failed", reason="x")]):
        view = study(records)
        best = strict(best_file(view))
        assert [best[name] for name in ("best_value", "best_trial", "best_params", "architecture")] == [None] * 4
        assert strict(study_summary(view))["distribution"] is None
        assert "No trial has completed." in summary_markdown(view)


def test_the_summary_accepts_hostile_texts(study: Make) -> None:
    """A reason with bars and line breaks stays in one cell."""
    record = trial(1, state="failed", reason="ValueError: a | b\n| c |\r\nend")
    rows = table(summary_markdown(study([trial(0, 0.5), record])), "Trials")
    assert {len(row) for row in rows} == {len(rows[0])}
    assert rows[2][1] == "failed: ValueError: a \0 b \0 c \0 end"


def test_the_summary_has_the_end_of_the_run(study: Make) -> None:
    """It has name, budget, end, warnings and switched-off components."""
    view = study([trial(0, 0.5)], end=StudyEnd.STOPPED, duplicates_avoided=3, degraded=("logger 'x' raised",), total=9)
    assert summary_markdown(view).startswith(
        "# walk, budget 2M\n\n1 of 9 trials finished; the last run ended as stopped. 1 completed.\n"
    )
    summary = strict(study_summary(view))
    assert (summary["end"], summary["duplicates_avoided"], summary["degraded"]) == ("stopped", 3, ["logger 'x' raised"])


def test_families_without_a_dimension_in_all_trials(study: Make) -> None:
    """Tables count the trials that have a dimension."""
    records = [trial(0, 0.5), trial(1, 0.4)]
    rows = study_summary(study(records, dimensions=("width", "heads")))["by_dimension"]
    assert [row["trials"] for row in rows["width"]] == [1, 1]
    assert rows["heads"] == []


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        # Ranks 1, 2.5, 2.5, 4 and 1, 2, 3.5, 3.5: covariance 3.75, both variances 4.5.
        ([1.0, 2.0, 2.0, 3.0], [10.0, 20.0, 30.0, 30.0], 3.75 / 4.5),
        # Ranks 1, 2, 3 and 2, 1, 3: 1 - 6 * 2 / (3 * 8) by the textbook formula.
        ([0.1, 0.2, 0.3], [5.0, 4.0, 900.0], 0.5),
        ([1.0, 2.0, 3.0, 4.0], [1.0, 10.0, 100.0, 1000.0], 1.0),
        ([1.0, 2.0, 3.0, 4.0], [4.0, 3.0, 2.0, 1.0], -1.0),
        ([1.0, 1.0, 1.0, 1.0], [4.0, 3.0, 2.0, 1.0], None),
        ([4.0, 3.0, 2.0, 1.0], [1.0, 1.0, 1.0, 1.0], None),
    ],
)
def test_rank_correlation_by_hand(first: list[float], second: list[float], expected: float | None) -> None:
    """Spearman's coefficient with mean ranks for ties; none if one variable is constant."""
    assert spearman(first, second) == (None if expected is None else pytest.approx(expected))


def test_sensitivity_without_a_number_has_a_reason(study: Make) -> None:
    """A parameter that is not varied, not numeric or has too few trials has a reason instead of a correlation."""
    records = [
        trial(
            n,
            0.5 + n / 100,
            hyperparameters={"learning_rate": 0.1 - n / 1000, "epochs": 50, "kind": "a" if n % 2 else "b"},
        )
        for n in range(4)
    ]
    space = ("learning_rate", "epochs", "kind")
    found = study_summary(study(records, space=space))["sensitivity"]
    assert found["learning_rate"] == {"rank_correlation": pytest.approx(-1.0), "trials": 4}
    assert found["epochs"] == {"rank_correlation": None, "note": "not varied", "trials": 4}
    assert found["kind"] == {"rank_correlation": None, "note": "not numeric", "trials": 4}
    few = study_summary(study([*records[:3], trial(3, state="failed", reason="x")], space=space))["sensitivity"]
    assert few["learning_rate"] == {"rank_correlation": None, "note": "too few completed trials", "trials": 3}


def test_distribution_by_hand() -> None:
    """Quartiles include the ends; one value has equal quartiles, no value no distribution."""
    found = distribution([0.4, 0.1, 0.3, 0.2, 0.5])
    assert found is not None
    assert {name: found[name] for name in ("count", "min", "q1", "median", "q3", "max")} == pytest.approx(
        {"count": 5, "min": 0.1, "q1": 0.2, "median": 0.3, "q3": 0.4, "max": 0.5}
    )
    assert found["mean"] == pytest.approx(0.3)
    assert found["std"] == pytest.approx(math.sqrt(0.1 / 4))
    assert distribution([0.4]) == pytest.approx(
        {"count": 1, "min": 0.4, "q1": 0.4, "median": 0.4, "q3": 0.4, "max": 0.4, "mean": 0.4, "std": 0.0}
    )
    assert distribution([]) is None


def files_in(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_g22_file_names_have_experiment_and_budget(study: Make, tmp_path: Path) -> None:
    """Exactly these files exist, without temporary ones."""
    logger = FilesLogger(FilesOptions(path=tmp_path / "out"), LoggerContext(folder=tmp_path))
    view = study([trial(0, 0.7), trial(1, 0.6)])
    logger.study_started(study([]))
    for record in view.trials:
        logger.trial_finished(record, view)
    logger.study_finished(view)
    written = files_in(tmp_path / "out")
    assert set(written) == {
        "trials/trial_0000.json",
        "trials/trial_0001.json",
        "walk_2M_best.json",
        "walk_all_trials.json",
        "walk_study_summary.json",
        "walk_study_summary.md",
    }
    assert json.loads(written["walk_2M_best.json"]) == strict(best_file(view))
    assert json.loads(written["trials/trial_0001.json"]) == strict(trial_file(view.trials[1]))


def test_g24_the_start_of_a_run_writes_files_that_a_crash_prevented(study: Make, tmp_path: Path) -> None:
    """Files written per trial equal those written at once from the journal."""
    view = study([trial(0, 0.7), trial(1, 0.6)])
    for name in ("step by step", "at once"):
        logger = FilesLogger(FilesOptions(path=tmp_path / name), LoggerContext(folder=tmp_path))
        if name == "at once":
            logger.study_started(view)
            continue
        logger.study_started(study([]))
        logger.trial_finished(view.trials[0], study(view.trials[:1]))
        logger.trial_finished(view.trials[1], view)
        logger.study_finished(view)
    assert files_in(tmp_path / "step by step") == files_in(tmp_path / "at once")


def test_a_start_writes_only_trial_files_that_differ_or_are_missing(study: Make, tmp_path: Path) -> None:
    """In a long study, writing all of them takes longer than anything else."""
    view = study([trial(0, 0.7), trial(1, 0.6), trial(2, 0.5)])
    context = LoggerContext(folder=tmp_path)
    FilesLogger(FilesOptions(), context).study_started(view)
    whole = files_in(tmp_path)
    same, changed, missing = [tmp_path / "trials" / f"trial_000{number}.json" for number in range(3)]
    changed.write_text(changed.read_text().replace("0.6", "0.1"))
    missing.unlink()
    before = same.stat().st_ino
    FilesLogger(FilesOptions(), context).study_started(view)
    assert files_in(tmp_path) == whole
    assert same.stat().st_ino == before


def test_a_study_without_a_budget_has_files(study: Make, tmp_path: Path) -> None:
    """The name of its best file has `none`."""
    FilesLogger(FilesOptions(), LoggerContext(folder=tmp_path)).study_started(study([trial(0, 0.7)], budget=None))
    assert (tmp_path / "walk_none_best.json").exists()


def test_a_parameter_counts_only_in_trials_that_have_it(study: Make) -> None:
    """A study may continue with one more parameter, which its first trials lack."""
    early = [trial(number, 0.7, hyperparameters={"learning_rate": 1e-3 * (number + 1)}) for number in range(3)]
    later = [trial(number, 0.5 + number / 100) for number in range(3, 8)]
    found = study_summary(study([*early, *later]))["sensitivity"]
    assert found["learning_rate"]["trials"] == 8
    assert found["epochs"] == {"rank_correlation": None, "note": "not varied", "trials": 5}


def test_the_summary_escapes_texts(study: Make) -> None:
    """Tags, cell borders and escape sequences in a reason are printed as text."""
    record = trial(0, None, state=TrialState.FAILED, reason="<script>alert(1)</script> | \x1b[31m")
    page = summary_markdown(study([record]))
    assert "failed: \\<script>alert(1)\\</script> \\| \\x1b[31m" in page
    assert "\x1b" not in page


def test_pandas_reads_the_files_as_tables(study: Make, tmp_path: Path) -> None:
    """With the code of docs/loggers.md: a row for each trial, and one for each epoch."""
    page = Path(__file__).parents[3] / "docs" / "loggers.md"
    (code,) = re.findall(r"^```python\n(.*?)^```$", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    lines = [{"epoch": epoch, "val_loss": 1 / epoch} for epoch in (1, 2, 3)]
    records = [trial(0, 0.7, learning_curve=lines), trial(1, state="failed"), trial(2, 0.6, learning_curve=lines[:2])]
    view = study(records, name="spy")
    logger = FilesLogger(FilesOptions(), LoggerContext(folder=view.folder))
    logger.study_started(view)
    logger.study_finished(view)
    found: dict[str, Any] = {}
    exec(code.replace("studies/spy", str(view.folder)), found)
    trials, curves = found["trials"].set_index("number"), found["curves"]
    assert trials["value"].to_dict() == pytest.approx({2: 0.6, 0: 0.7, 1: math.nan}, nan_ok=True)
    assert trials.loc[2, "architecture.width"] == 16
    assert trials.loc[2, "params.learning_rate"] == 0.003
    assert curves[0].tolist() == [1, 1 / 2, 1 / 3]
    assert curves[2].tolist() == pytest.approx([1, 1 / 2, math.nan], nan_ok=True)
