"""The logger `csv`: one table of several studies, with each trial once."""

from __future__ import annotations

import csv
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
from attrs import evolve

from scalecore.api.logger import LoggerContext
from scalecore.api.space import Architecture
from scalecore.api.trials import StudyView, TrialState
from scalecore.builtin.options import CsvOptions
from scalecore.builtin.results_csv import CsvLogger, differences

from .conftest import trial

Make = Callable[..., StudyView]


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def logger(path: Path) -> CsvLogger:
    return CsvLogger(CsvOptions(path=path), LoggerContext(folder=path.parent / "walk"))


def test_a_row_has_architecture_and_result(study: Make, tmp_path: Path) -> None:
    """Columns of version 0.1 come first, then target, threshold, tier, AUC and all hyper-parameters."""
    best = {"epoch": 3, "val_loss": 0.25, "auc": 0.625}
    view = study([trial(0, 0.25, hardware={"temperature": {"mean": 60.0, "max": 71.5}}, best=best)])
    path = tmp_path / "results.csv"
    logger(path).trial_finished(view.trials[0], view)
    (row,) = rows_of(path)
    assert row == {
        "timestamp": "2026-01-01T00:00:00.000Z",
        "experiment": "walk",
        "study": str(view.folder),
        "budget": "2M",
        "horizon": "2",
        "trial": "0",
        "status": "completed",
        "value": "0.25",
        "metric": "val_loss",
        "duration": "60.0",
        "width": "16",
        "depth": "2",
        "param_count": "512",
        "data_checksum": view.plan.data.fingerprint,
        "thermal_max": "71.5",
        "hash": "hash-0",
        "reason": "",
        "target": view.plan.data.target.text,
        "threshold": "",
        "tier": "",
        "auc": "0.625",
        "learning_rate": "0.001",
        "epochs": "50",
    }
    assert list(row)[-7:] == ["reason", "target", "threshold", "tier", "auc", "learning_rate", "epochs"]


def test_the_tier_comes_from_the_details_of_the_dataset(study: Make, tmp_path: Path) -> None:
    """The threshold is that of the target; datasets and targets without one have empty cells."""
    view = study([trial(0, 0.5)])
    data = view.plan.data
    target = evolve(data.target, threshold=0.005)
    data = evolve(data, details={**data.details, "tier": "a25"}, target=target)
    path = tmp_path / "results.csv"
    logger(path).study_started(evolve(view, plan=evolve(view.plan, data=data)))
    (row,) = rows_of(path)
    assert (row["tier"], row["threshold"], row["auc"]) == ("a25", "0.005", "")


def test_a_hyper_parameter_with_the_name_of_a_column_has_a_prefix(study: Make, tmp_path: Path) -> None:
    """A training function may declare any name."""
    view = study([trial(0, 0.5, hyperparameters={"threshold": 0.3, "width": 7, "note": "=1+1"})])
    path = tmp_path / "results.csv"
    logger(path).study_started(view)
    (row,) = rows_of(path)
    assert (row["threshold"], row["hyperparameters.threshold"]) == ("", "0.3")
    assert (row["width"], row["hyperparameters.width"], row["note"]) == ("16", "7", "'=1+1")


OLD = ["timestamp", "experiment", "study", "budget", "horizon", "trial", "status", "value", "metric", "duration"]
OLD += ["width", "depth", "param_count", "data_checksum", "thermal_max", "hash", "reason"]


def as_version_0_1(path: Path) -> None:
    """Remove the columns that version 0.1 did not write."""
    rows = rows_of(path)
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, OLD, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def test_a_resumed_study_completes_the_rows_of_version_0_1(study: Make, tmp_path: Path) -> None:
    """All its rows get the new columns; old columns keep place and order, other studies' rows stay."""
    path = tmp_path / "results.csv"
    whole, other = study([trial(0, 0.7), trial(1, 0.6)]), study([trial(0, 0.9)], name="other")
    logger(path).study_started(other)
    logger(path).study_started(study(whole.trials[:1]))
    as_version_0_1(path)
    assert list(differences(path, other)) == []
    logger(path).study_started(whole)
    rows = rows_of(path)
    assert list(rows[0]) == [*OLD, "target", "threshold", "tier", "auc", "learning_rate", "epochs"]
    assert [(row["experiment"], row["trial"], row["learning_rate"]) for row in rows] == [
        ("other", "0", ""),
        ("walk", "0", "0.001"),
        ("walk", "1", "0.002"),
    ]
    assert list(differences(path, whole)) == list(differences(path, other)) == []


def test_a_changed_hyper_parameter_in_the_table_is_a_difference(study: Make, tmp_path: Path) -> None:
    """`verify` compares the new columns too."""
    path = tmp_path / "results.csv"
    view = study([trial(0, 0.7)])
    logger(path).study_started(view)
    path.write_text(path.read_text().replace(",0.001,50", ",0.002,50"))
    assert list(differences(path, view)) == ["results.csv has another row of trial 0"]


def test_pandas_reads_a_number_for_each_hyper_parameter(study: Make, tmp_path: Path) -> None:
    """Columns are the same for all trials of a study; a name in several studies is one column."""
    path = tmp_path / "results.csv"
    logger(path).study_started(study([trial(0, 0.7), trial(1, state="failed", reason="killed")]))
    logger(path).study_started(study([trial(0, 0.5, hyperparameters={"momentum": 0.9, "epochs": 3})], name="other"))
    table = pd.read_csv(path)
    assert list(table.columns[-3:]) == ["learning_rate", "epochs", "momentum"]
    assert table["learning_rate"].tolist()[:2] == [0.001, 0.002]
    assert table["epochs"].tolist() == [50, 50, 3]


def test_g21_a_missing_value_is_an_empty_cell(study: Make, tmp_path: Path) -> None:
    """A failed trial has no value and an unreadable sensor no temperature; trial 0 and value 0 are written."""
    failed = trial(
        1, state="failed", reason='ValueError: a, "b"\nc', hardware={"temperature": {"unavailable": "no sensor"}}
    )
    view = study([trial(0, 0.0), failed])
    path = tmp_path / "results.csv"
    logger(path).study_started(view)
    first, second = rows_of(path)
    assert (first["trial"], first["value"]) == ("0", "0.0")
    assert (second["value"], second["thermal_max"], second["status"]) == ("", "", "failed")
    assert second["reason"] == 'ValueError: a, "b"\nc'


def test_a_resumed_study_adds_only_missing_rows(study: Make, tmp_path: Path) -> None:
    """A driver that ends between journal and table omits a row; the next run adds it."""
    path = tmp_path / "results.csv"
    whole = study([trial(0, 0.7), trial(1, 0.6), trial(2, 0.5)])
    first = logger(path)
    first.study_started(study([]))
    first.trial_finished(whole.trials[0], study(whole.trials[:1]))
    for _ in range(2):
        again = logger(path)
        again.study_started(study(whole.trials[:2]))
        again.trial_finished(whole.trials[2], whole)
        again.study_finished(whole)
    assert [row["trial"] for row in rows_of(path)] == ["0", "1", "2"]


def test_a_trial_repeated_after_a_failure_has_a_separate_row(study: Make, tmp_path: Path) -> None:
    """A failed configuration may be proposed once more: another number with the same hash."""
    path = tmp_path / "results.csv"
    failed = trial(0, state="failed", reason="killed", hash="same")
    view = study([failed, trial(1, 0.5, hash="same")])
    writer = logger(path)
    for record in view.trials:
        writer.trial_finished(record, view)
    writer.study_started(view)
    assert [(row["trial"], row["status"]) for row in rows_of(path)] == [("0", "failed"), ("1", "completed")]


def test_studies_of_different_families_share_a_table(study: Make, tmp_path: Path) -> None:
    """Each family adds the columns of its dimensions; the same hash in two studies is two rows."""
    path = tmp_path / "results.csv"
    one = study([trial(0, 0.7)], name="one", budget="2M")
    kernel = Architecture(values={"kernel": 3, "depth": 9}, num_parameters=81, flops=1)
    other = study([trial(0, 0.6, architecture=kernel)], name="other", budget="20M")
    for view in (one, other, one):
        logger(path).study_started(view)
    first, second = rows_of(path)
    assert list(first) == list(second)
    shown = [[row[name] for name in ("experiment", "budget", "width", "depth", "kernel")] for row in (first, second)]
    assert shown == [["one", "2M", "16", "2", ""], ["other", "20M", "", "9", "3"]]
    assert list(first)[-8:-4] == ["hash", "reason", "target", "threshold"]


def test_other_rows_stay(study: Make, tmp_path: Path) -> None:
    """An existing table may have rows without a trial, also equal ones."""
    path = tmp_path / "results.csv"
    path.write_text("run,value\na,0.3\nb,0.4\nb,0.4\n")
    logger(path).study_started(study([trial(0, 0.7)]))
    assert [(row["run"], row["value"], row["trial"]) for row in rows_of(path)] == [
        ("a", "0.3", ""),
        ("b", "0.4", ""),
        ("b", "0.4", ""),
        ("", "0.7", "0"),
    ]


def test_the_table_is_next_to_the_study(study: Make, tmp_path: Path) -> None:
    """Without a path the studies of one folder share it; the folder is created if necessary."""
    folder = tmp_path / "new" / "studies" / "walk"
    CsvLogger(CsvOptions(), LoggerContext(folder=folder)).study_started(study([trial(0, 0.7)]))
    assert len(rows_of(tmp_path / "new" / "studies" / "experiment_results.csv")) == 1


WRITER = """
import pickle, sys, time
from pathlib import Path
from scalecore.builtin.options import CsvOptions
from scalecore.builtin.results_csv import CsvLogger
from scalecore.builtin import rewrite_schedule
from scalecore.api.logger import LoggerContext

rewrite_schedule.EVERY = 0.0  # every trial at once, so that the writers meet often
path, index = Path(sys.argv[1]), sys.argv[2]
view = pickle.loads((path.parent / f"study-{index}").read_bytes())
logger = CsvLogger(CsvOptions(path=path), LoggerContext(folder=view.folder))
(path.parent / f"ready-{index}").touch()
while not (path.parent / "go").exists():
    time.sleep(0.001)
for record in view.trials:
    logger.trial_finished(record, view)
logger.study_finished(view)
"""


def test_studies_that_write_at_the_same_time_lose_no_row(study: Make, tmp_path: Path) -> None:
    """Three processes write forty rows each at the same time: every row exists once."""
    path = tmp_path / "results.csv"
    processes = []
    for index in range(3):
        view = study([trial(n, n / 100) for n in range(40)], name=f"study{index}")
        (tmp_path / f"study-{index}").write_bytes(pickle.dumps(view))
        processes.append(subprocess.Popen([sys.executable, "-c", WRITER, str(path), str(index)]))
    while not all((tmp_path / f"ready-{index}").exists() for index in range(3)):
        assert [process.poll() for process in processes] == [None] * 3
    (tmp_path / "go").touch()
    assert [process.wait() for process in processes] == [0, 0, 0]
    found = sorted((row["experiment"], int(row["trial"])) for row in rows_of(path))
    assert found == [(f"study{index}", number) for index in range(3) for number in range(40)]


def test_text_is_never_a_formula_and_numbers_stay_numbers(study: Make, tmp_path: Path) -> None:
    """A spreadsheet program would evaluate a reason that starts with `=`; `verify` accepts the escaped text."""
    view = study([trial(0, -0.25), trial(1, None, state=TrialState.FAILED, reason="=HYPERLINK(1)")])
    path = tmp_path / "results.csv"
    logger(path).study_started(view)
    rows = rows_of(path)
    assert [row["value"] for row in rows] == ["-0.25", ""]
    assert rows[1]["reason"] == "'=HYPERLINK(1)"
    assert list(differences(path, view)) == []
