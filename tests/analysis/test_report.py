"""The report of a study: every number is recomputed from the journal; studies with few or no results."""

from __future__ import annotations

import json
import math
import random
import statistics
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attrs import evolve

from scalecore.api import markdown
from scalecore.api.analysis import AnalysisResult
from scalecore.api.files import plain
from scalecore.api.space import Architecture
from scalecore.api.trials import Note, Origin, Proposal, StudyEnd, StudyView, TrialRecord
from scalecore.data.predictions import Predictions, write_predictions
from scalecore.store.events import AskedFor, DuplicateAvoided, RunEnded, RunStarted, StudyBegun, TrialFinished
from scalecore.store.journal import Journal
from scalecore.store.layout import StudyFolder
from scalecore.views.read_study import read_study
from scalecore_analysis.options import ReportOptions
from scalecore_analysis.report.analysis import ReportAnalysis
from scalecore_analysis.report.hardware import hardware
from scalecore_analysis.report.section import Subject
from scalecore_analysis.report.training import rank_correlation
from scalecore_analysis.studies import ratios

from .conftest import COLLAPSED, trial, with_plan

pytestmark = pytest.mark.slow

Make = Callable[..., StudyView]


def report(*studies: StudyView, **options: Any) -> AnalysisResult:
    """The result of the analysis, which must be serialisable."""
    result = ReportAnalysis(ReportOptions(**options)).run(studies)
    json.dumps(plain({"data": result.data, "tables": result.tables}), allow_nan=False)
    return result


def made_up(folder: Path) -> list[TrialRecord]:
    """36 trials of all kinds; the best one is number 20 and has stored predictions."""
    source = random.Random(5)
    found = []
    for number in range(36):
        hardware = {"temperature": {"mean": 50.0 + number, "min": 40.0, "max": 60.0 + number, "samples": 3}}
        common: dict[str, Any] = {
            "hyperparameters": {"learning_rate": 10 ** source.uniform(-4, -1), "epochs": 10},
            "duration": 30.0 + number,
            "origin": Origin(kind="forced", label="width:min") if number < 4 else Origin(kind="sampled"),
            "hardware": {**hardware, "pauses": {"count": number % 3}},
            "timings": {"paused_seconds": 2.0 * (number % 3)},
            "memory": {"predicted": 2_000_000 + number, "measured": 1_000_000},
            "versions": {"torch": "2.13.0" if number else "2.12.0", "weights": f"hash of {number}"},
        }
        if number % 12 == 7:
            found.append(trial(number, state="out_of_memory", reason="needs 9 GB", **common))
            continue
        value = 0.4 if number == 20 else 0.6 + 0.01 * source.random() - common["hyperparameters"]["learning_rate"]
        flags = [COLLAPSED] if number == 30 else []
        curve = [{"epoch": epoch, "val_loss": value + 1 / epoch, "train_loss": value} for epoch in (1, 2, 3)]
        found.append(trial(number, value, flags=flags, learning_curve=curve, **common))
    best = found[20]
    outputs = np.linspace(-2, 2, 300, dtype=np.float32)[:, None]
    labels = (np.random.default_rng(1).random(300) < 1 / (1 + np.exp(-outputs[:, 0]))).astype(np.float32)
    about = {"part": "val", "epoch": 2, "task": "binary", "data": "x", "target": "y", "horizon": 2, "point": 0}
    rows = np.arange(300)
    path = folder / "predictions" / "trial_0020.npz"
    path.parent.mkdir(parents=True)
    times = np.datetime64("2015-01-01", "ns") + rows * np.timedelta64(1, "D")
    kept = Predictions(outputs=outputs, labels=labels, times=times, rows=rows, about=about)
    predictions = {"file": "predictions/trial_0020.npz", "sha256": write_predictions(path, kept), "epoch": 2}
    cells = {
        "confusion_matrix": {"tn": 50, "fp": 10, "fn": 20, "tp": 40},
        "precision": 0.8,
        "recall": 2 / 3,
        "f1": 0.73,
    }
    found[20] = trial(
        20,
        0.4,
        **{
            **{name: getattr(best, name) for name in ("hyperparameters", "duration", "hardware", "timings", "memory")},
            **{name: getattr(best, name) for name in ("versions", "learning_curve", "origin")},
            "best": {**(best.best.plain() if best.best else {}), **cells},
            "predictions": predictions,
        },
    )
    return found


@pytest.fixture
def journalled(study: Make, tmp_path: Path) -> tuple[StudyView, list[dict[str, Any]]]:
    """A study read from a journal, and the lines of that journal."""
    folder = StudyFolder(tmp_path / "walk")
    view = study(made_up(folder.path))
    journal = Journal(folder.journal)
    journal.append(StudyBegun(experiment=view.experiment, plan=view.plan))
    journal.append(RunStarted(pid=1, host="here", versions={}, total=40))
    for record in view.trials:
        proposal = Proposal(
            architecture=record.architecture, hyperparameters=record.hyperparameters, origin=record.origin
        )
        asked = {name: getattr(record, name) for name in ("number", "hash", "seed", "hyperparameters")}
        journal.append(AskedFor(**asked, proposal=proposal))
        journal.append(TrialFinished(number=record.number, record=record))
    for _ in range(3):
        journal.append(DuplicateAvoided(number=40, duplicate_of=0, proposal=proposal))
    journal.append(RunEnded(end=StudyEnd.STOPPED))
    journal.close()
    header = "timestamp,temperature,process_memory\n"
    folder.hardware.write_text(header + "2026-01-01T00:00:00Z,55,1e9\n2026-01-01T00:00:10Z,,2e9\n")
    lines = [json.loads(line) for line in folder.journal.read_text(encoding="utf-8").splitlines()]
    return read_study(folder), lines


def test_g13_every_number_matches_the_journal(journalled: tuple[StudyView, list[dict[str, Any]]]) -> None:
    """States, groups, correlations, spread, best trial, hardware, origins and flags are recomputed from its lines."""
    view, lines = journalled
    records = [line["record"] for line in lines if line["event"] == "trial_finished"]
    completed = [record for record in records if record["state"] == "completed"]
    values = [record["value"] for record in completed]
    data = report(view).data["walk"]

    states = data["Trials by state"]
    assert states["states"]["completed"] == len(completed) == 33
    assert states["states"]["out_of_memory"] == len(records) - len(completed)
    assert states["states"]["not yet tried"] == 40 - len(records)
    assert states["duplicates avoided"] == sum(line["event"] == "duplicate" for line in lines) == 3
    assert states["hours"] == pytest.approx(sum(record["duration"] for record in records) / 3600)
    assert states["reasons"] == [
        {"state": "out_of_memory", "trials": 3, "reason": "needs 9 GB", "numbers": "7, 19, 31"}
    ]

    best = min(completed, key=lambda record: float(record["value"]))
    assert (data["Best trial"]["trial"], data["Best trial"]["value"]) == (best["number"], best["value"])
    assert data["Best trial"]["confusion matrix"] == best["best"]["confusion_matrix"]
    metrics = {row["metric"]: row["value"] for row in data["Best trial"]["metrics"]}
    assert {name: metrics[name] for name in ("precision", "recall", "f1")} == {
        name: best["best"][name] for name in ("precision", "recall", "f1")
    }
    baselines = {one["name"]: one["loss"] for one in lines[0]["plan"]["data"]["baselines"] if one["loss"] is not None}
    difference = best["best"]["val_loss"] - min(baselines.values())
    assert data["Baselines"]["best trial less best baseline"] == pytest.approx(difference)

    for row in data["Architectures"]["By width"]:
        group = [r["value"] for r in completed if r["architecture"]["values"]["width"] == row["width"]]
        assert (row["completed"], row["best"]) == (len(group), min(group))
        assert (row["mean"], row["median"]) == pytest.approx((statistics.fmean(group), statistics.median(group)))

    rates = [record["hyperparameters"]["learning_rate"] for record in completed]
    sensitivity = {row["parameter"]: row for row in data["Sensitivity"]["parameters"]}
    ranks = [[sorted(one).index(value) for value in one] for one in (rates, values)]
    assert sensitivity["learning_rate"]["correlation"] == pytest.approx(statistics.correlation(*ranks))
    assert sensitivity["epochs"]["note"] == "not varied (10)"
    assert sensitivity["epochs"]["correlation"] is None

    spread = data["Distribution"]
    assert (spread["trials"], spread["smallest"], spread["largest"]) == (len(values), min(values), max(values))
    assert spread["median"] == pytest.approx(statistics.median(values))
    assert spread["standard deviation"] == pytest.approx(statistics.stdev(values))

    temperatures = [record["hardware"]["temperature"] for record in records]
    readings = data["Hardware"]["readings"]["temperature"]
    assert readings["mean"] == pytest.approx(statistics.fmean(one["mean"] for one in temperatures))
    assert readings["max"] == max(one["max"] for one in temperatures)
    counts = [record["hardware"]["pauses"]["count"] for record in records]
    assert data["Hardware"]["pauses"]["pauses"] == sum(counts)
    assert data["Hardware"]["pauses"]["trials paused"] == sum(count > 0 for count in counts)
    assert data["Hardware"]["pauses"]["paused minutes"] == pytest.approx(2 * sum(counts) / 60)
    assert data["Hardware"]["memory"]["highest"] == pytest.approx(2.000035)
    assert data["Hardware"]["rows of hardware.csv"] == 2

    kinds = Counter(record["origin"]["kind"] for record in records)
    assert {row["origin"]: row["trials"] for row in data["Origin of trials"]["kinds"] if row["trials"]} == kinds
    assert [(row["guard"], row["trials"]) for row in data["Flags"]["trials"]] == [("G09", 1)]
    assert {"name": "torch", "planned": "2.13.0+cpu", "trials": "2.12.0 (1), 2.13.0 (35)"} in data["Versions"]
    assert "weights" not in {row["name"] for row in data["Versions"]}
    parts = lines[0]["plan"]["data"]["split"]["parts"]
    assert [(row["windows"], row["positives"], row["base rate"]) for row in data["Setup and data"]["split"]] == [
        (part["windows"], part["positives"], part["base_rate"]) for part in parts.values()
    ]
    assert data["Coverage"]["overview"]["tried"] == len({json.dumps(r["architecture"]["values"]) for r in records})

    order = [row["trial"] for row in data["All trials"]]
    healthy = sorted((r for r in completed if not r["flags"]), key=lambda record: float(record["value"]))
    assert order == [r["number"] for r in healthy] + [30, 7, 19, 31]


def test_reliability_matches_the_stored_predictions(journalled: tuple[StudyView, list[dict[str, Any]]]) -> None:
    """Each bin's share of positives and mean probability, from the file of logits."""
    view, _ = journalled
    rows = report(view).data["walk"]["Best trial"]["reliability"]
    with np.load(view.folder / "predictions" / "trial_0020.npz") as arrays:
        chances, labels = 1 / (1 + np.exp(-arrays["outputs"][:, 0].astype(float))), arrays["labels"]
    assert sum(row["windows"] for row in rows) == 300
    at = 0
    for row in rows:
        inside = slice(at, at + row["windows"])
        assert (row["share"], row["probability"]) == pytest.approx((labels[inside].mean(), chances[inside].mean()))
        at += row["windows"]


def test_damaged_predictions_are_reported(journalled: tuple[StudyView, list[dict[str, Any]]]) -> None:
    """A damaged file adds a sentence and does not fail the report."""
    view, _ = journalled
    path = view.folder / "predictions" / "trial_0020.npz"
    path.write_bytes(b"nothing")
    assert (
        f"Best trial: No reliability diagram: {path}: not the predictions of trial 20; restore the file "
        "from a backup." in report(view).summary
    )


def test_the_best_trial_is_reported_with_its_fresh_seeds(study: Make) -> None:
    """The mean of its replicates is reported with the value that selected it."""
    best = trial(1, 0.5)
    same = {"architecture": best.architecture, "hyperparameters": best.hyperparameters}
    replicates = [trial(n, value, origin=Origin(kind="replicate"), **same) for n, value in ((7, 0.6), (8, 0.7))]
    result = report(study([trial(0, 0.8), best], confirmations=tuple(replicates)))
    assert result.data["walk"]["Best trial"]["fresh seeds"] == [0.6, 0.7]
    assert "Best trial: Its mean over 2 fresh seeds is 0.65 (replicates 7, 8)." in result.summary


def test_five_thousand_trials(study: Make) -> None:
    """The data and the page contain all of them; the tables for the console stay short."""
    source = random.Random(3)
    records = [trial(n, 0.5 + source.random()) for n in range(4000)]
    records += [trial(n, state="failed", reason=f"line {n}") for n in range(4000, 5000)]
    result = report(study(records))
    data = result.data["walk"]
    assert data["Best trial"]["trial"] == min(records[:4000], key=lambda one: one.value or 0).number
    assert len({row["trial"] for row in data["All trials"]}) == 5000
    assert len(data["Trials by state"]["reasons"]) == 1000
    assert "Trials by state: The table of all trials has 950 further reasons." in result.summary
    page = result.files["report.html"]
    assert page.partition('<table id="trials">')[2].count("<tr>") == 5001
    assert max(len(rows) for rows in result.tables.values()) <= 50


@pytest.mark.parametrize("matrix", [[[5, 1, 0], [2, 7, 1], [0, 0, 9]], None])
def test_targets_of_several_classes_and_none(study: Make, matrix: Any) -> None:
    """One row per true class; no matrix if a target has no classes."""
    tables = report(study([trial(0, 0.7, best={"epoch": 1, "val_loss": 0.7, "confusion_matrix": matrix})])).tables
    if matrix is None:
        assert "Best trial: Confusion matrix" not in tables
    else:
        rows = tables["Best trial: Confusion matrix"]
        assert rows[1] == {"truth": "class 1", "predicted 0": 2, "predicted 1": 7, "predicted 2": 1}


def test_a_study_of_failures(study: Make) -> None:
    """Reasons are reported; missing results stay empty."""
    view = study([trial(number, state="failed", reason="no such file") for number in range(5)])
    data = report(view).data["walk"]
    assert data["Best trial"] is None
    assert data["Distribution"] is None
    assert data["Trials by state"]["reasons"][0]["trials"] == 5
    assert data["Baselines"]["best trial less best baseline"] is None


def test_a_study_of_one_trial(study: Make) -> None:
    """Standard deviation and correlation are missing, with the reason."""
    data = report(study([trial(0, 0.7)])).data["walk"]
    assert data["Distribution"]["standard deviation"] is None
    assert {row["note"] for row in data["Sensitivity"]["parameters"]} == {"too few completed trials"}


def test_values_that_are_no_numbers(study: Make) -> None:
    """NaN, infinite values and missing metrics count as missing and are never best."""
    broken = trial(0, math.nan, learning_curve=[{"epoch": 1, "val_loss": math.inf}])
    bare = trial(2, 0.6, best=None, last=None, learning_curve=[], duration=None)
    view = study([broken, trial(1, 0.7), bare, trial(3, -math.inf)])
    data = report(view).data["walk"]
    assert data["Best trial"]["trial"] == 2
    assert data["Distribution"]["trials"] == 2
    assert [row["val_loss"] for row in data["All trials"]] == [0.6, 0.7, None, None]


def test_hostile_texts_stay_texts(study: Make) -> None:
    """Names, reasons, labels and values that contain HTML or Markdown are escaped."""
    hostile = '</script><script>alert("x")</script>|`<img src=x onerror=alert(1)>`'
    records = [
        trial(number, 0.7 - number / 100, origin=Origin(kind="forced", label=hostile, reason=hostile))
        for number in range(5)
    ]
    records.append(
        trial(5, state="failed", reason=hostile, flags=[{"guard": hostile, "kind": hostile, "text": hostile}])
    )
    records.append(trial(6, 0.6, hyperparameters={hostile: hostile}))
    result = report(study(records, name=hostile))
    (page,) = result.files.values()
    assert list(result.files) == ["report.html"]
    assert 'alert("x")' not in page
    assert "<img src=x" not in page
    assert page.count("<script") == page.count("</script>")
    for rows in result.tables.values():
        assert "<script>" not in "\n".join(markdown.table(rows)).replace("\\<", "")


def test_several_studies_have_a_page_each(study: Make) -> None:
    """Pages are named after the studies, beside the page of all; studies with the same name get a number."""
    names = ["first", "a/b", "a b", "../", "Report"]
    files = report(*(study([trial(0, 0.7)], name=name) for name in names), figures=[], tables=[]).files
    assert list(files) == ["report.html", "first.html", "a-b.html", "a-b-2.html", "study.html", "Report-2.html"]


def test_tables_of_one_study_are_files_if_asked_for(study: Make) -> None:
    """A single study has no files besides its page by default."""
    made = study([trial(0, 0.7), trial(1, 0.6)])
    assert list(report(made).files) == ["report.html"]
    files = report(made, tables=["tex"]).files
    assert {"report.html", "tables/states.tex", "tables/configuration.tex", "tables/split.tex"} <= set(files)
    assert not [name for name in files if name.endswith((".csv", ".svg"))]


def test_many_values_are_shown_as_ranges(study: Make) -> None:
    """Ranges of a ratio contain every trial once; trials with the same value stay together."""
    from scalecore.api.space import Architecture

    records = [
        trial(n, 0.7, architecture=Architecture(values={"width": 8 + n % 20, "depth": 1}, num_parameters=9, flops=1))
        for n in range(100)
    ]
    rows = report(study(records)).data["walk"]["Architectures"]["By width"]
    assert 6 <= len(rows) <= 8
    assert sum(row["trials"] for row in rows) == 100
    assert all(row["trials"] % 5 == 0 for row in rows)


def test_roles_of_the_family_determine_aspect_and_ratios(study: Make) -> None:
    """The names of the dimensions do not matter if the plan contains their roles."""
    roles = {"width": "width", "depth": "depth"}
    view = with_plan(study([trial(number, 0.7) for number in range(9)]), architectures={"roles": roles})
    result = report(view)
    rows = result.tables["Architectures: By aspect (width / depth)"]
    assert [row["aspect (width / depth)"] for row in rows] == [2, 4, 8, 16, 32]
    assert "val_loss against aspect" in result.files["report.html"]


def test_importance_finds_the_parameter_that_matters(study: Make) -> None:
    """Only the parameter that determines the objective is important; with noise the forest has no predictive power."""
    source = random.Random(2)
    rates, noise = [[source.random() for _ in range(60)] for _ in range(2)]
    records = [
        trial(n, 0.5 + rate, hyperparameters={"learning_rate": rate, "epochs": source.choice([10, 20])})
        for n, rate in enumerate(rates)
    ]
    rows = {row["parameter"]: row for row in report(study(records)).data["walk"]["Sensitivity"]["parameters"]}
    assert rows["learning_rate"]["importance"] > 0.5
    assert abs(rows["epochs"]["importance"]) < 0.1
    assert rows["learning_rate"]["lowest"] <= rows["learning_rate"]["importance"] <= rows["learning_rate"]["highest"]
    for record, value in zip(records, noise, strict=True):
        object.__setattr__(record, "value", value)
    text = report(study(records)).data["walk"]["Sensitivity"]["importance"]
    assert text.startswith("No importance: a forest has no predictive power on held-out trials (R² -")


def test_the_interval_of_a_rank_correlation_has_its_coverage() -> None:
    """In about 95 of 100 samples of two normal variables with a known correlation."""
    generator = np.random.default_rng(4)
    truth = 6 / math.pi * math.asin(0.6 / 2)
    held = 0
    for _ in range(300):
        x, y = generator.multivariate_normal([0, 0], [[1, 0.6], [0.6, 1]], 40).T
        found = rank_correlation(x.tolist(), y.tolist())
        assert found is not None
        _, low, high = found
        assert low is not None
        assert high is not None
        held += low <= truth <= high
    assert 0.91 <= held / 300 <= 0.99


def test_the_figure_of_a_long_history_shows_peaks(study: Make, tmp_path: Path) -> None:
    """One high reading among ten thousand is in the figure."""
    view = study([trial(0, 0.7)])
    view.folder.mkdir()
    rows = [f"2026-01-01T00:00:00Z,{93.25 if number == 7_777 else 50}" for number in range(10_000)]
    StudyFolder(view.folder).hardware.write_text("\n".join(["timestamp,temperature", *rows]))
    rows = hardware(Subject.of(view)).figures["Temperature over time"]["datasets"]["rows"]
    assert len(rows) == 2000
    assert max(row["y"] for row in rows) == 93.25


def test_ratios_follow_the_roles(study: Make) -> None:
    """Width by depth, width by heads, feed-forward width by width; a ratio with a missing role is omitted."""
    view = study([])
    dimensions = {name: [1] for name in ("breite", "tiefe", "koepfe", "innen")}
    roles = {"width": "breite", "depth": "tiefe", "heads": "koepfe", "feed_forward": "innen"}
    view = with_plan(view, architectures={"dimensions": dimensions, "roles": roles, "architectures": []})
    values = {"breite": 8, "tiefe": 2, "koepfe": 4, "innen": 32}
    shape = Architecture(values=values, num_parameters=1, flops=1)
    found = {title: (ratio.name, ratio.of(shape)) for title, ratio in ratios(view).items()}
    assert found == {
        "aspect": ("breite / tiefe", 4.0),
        "head size": ("breite / koepfe", 2.0),
        "feed-forward ratio": ("innen / breite", 4.0),
    }
    view = with_plan(view, architectures={"roles": {"width": "breite", "depth": "tiefe"}})
    assert list(ratios(view)) == ["aspect"]


def test_description_and_notes_of_the_user_are_in_the_report(study: Make) -> None:
    """As text, not as HTML, with their lines; a study without them has no such section."""
    notes = [Note(key="1", written="2026-11-30T19:36:02.857Z", text="fan <b>replaced</b>\nsecond line")]
    view = study([trial(0, 0.7)])
    described = evolve(view, experiment={**view.experiment, "description": "Does depth help? <script>"}, notes=notes)
    result = report(described)
    page = result.files["report.html"]
    assert isinstance(page, str)
    assert "<td>Does depth help? &lt;script&gt;</td>" in page
    assert "<td>2026-11-30 19:36:02</td><td>fan &lt;b&gt;replaced&lt;/b&gt;\nsecond line</td>" in page
    assert result.data["walk"]["Description and notes"] == {
        "description": "Does depth help? <script>",
        "notes": [{"written": notes[0].written, "text": notes[0].text}],
    }
    assert "Description and notes" not in report(view).data["walk"]
