"""A complete study: its end, files, records, plan and status."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from scalecore.store.predictions import trial_predictions
from scalecore.store.record_json import record_from

from .conftest import Study


def architecture_of(record: dict[str, Any]) -> dict[str, int]:
    return {**record["architecture"]["values"], "param_count": record["architecture"]["num_parameters"]}


def test_every_file_exists_and_agrees_with_the_journal(study: Study) -> None:
    """Trial files, best trial, summaries and the table of results match the journal; all JSON is strict."""
    study.run()
    records = study.finished()
    assert sorted(records) == [0, 1, 2, 3, 4]
    assert {record["state"] for record in records.values()} == {"completed"}

    for number, record in records.items():
        trial = study.json(f"trials/trial_{number:04d}.json")
        assert trial["number"] == number
        assert trial["value"] == record["value"]
        assert trial["architecture"] == architecture_of(record)
        assert trial["params"] == {**record["architecture"]["values"], **record["hyperparameters"]}
        assert trial["user_attrs"]["learning_curve"] == record["learning_curve"]
        assert trial["user_attrs"]["train"] == record["train"]
        assert record["train"]["epoch"] == record["best"]["epoch"]
        assert record["train"]["windows"] == record["data"]["split"]["parts"]["train"]["windows"]
        assert (
            sum(trial["user_attrs"]["confusion_matrix"].values()) == record["data"]["split"]["parts"]["val"]["windows"]
        )

    best = min(records.values(), key=lambda record: record["value"])
    best_file = study.json("tiny_4000_best.json")
    assert best_file["best_trial"] == best["number"]
    assert best_file["best_value"] == best["value"]
    assert best_file["architecture"] == architecture_of(best)
    assert best_file["counts"] | {"completed": 5, "running": 0, "total": 5} == best_file["counts"]

    assert {baseline["name"] for baseline in best_file["baselines"]} >= {"prior", "previous_label", "last_values"}

    ranked = study.json("tiny_all_trials.json")
    assert [row["value"] for row in ranked] == sorted(record["value"] for record in records.values())
    kept = {path.name for path in (study.folder / "weights").iterdir()}
    assert kept == {f"trial_{row['number']:04d}.safetensors" for row in ranked[:3]}, "not the weights of the best (G44)"
    assert not list(study.folder.glob("attempts/*/*/best_*"))
    assert {record["memory"]["source"] for record in records.values()} == {"traced"}
    summary = study.json("tiny_study_summary.json")
    assert summary["counts"] == best_file["counts"]
    assert summary["distribution"]["min"] == best["value"]
    assert sum(row["trials"] for row in summary["by_dimension"]["d_model"]) == 5
    markdown = (study.folder / "tiny_study_summary.md").read_text()
    assert f"Best: trial {best['number']} with val_loss {best['value']:.4f}" in markdown

    with (study.folder.parent / "experiment_results.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [(int(row["trial"]), float(row["value"])) for row in rows] == [
        (n, r["value"]) for n, r in sorted(records.items())
    ]
    assert {row["status"] for row in rows} == {"completed"}
    assert all(row["d_model"] and row["param_count"] and row["data_checksum"] for row in rows)


def test_the_record_describes_the_trial(study: Study) -> None:
    """Counted parameters, hyper-parameters as used, seed, data and code are in each record.

    The logits of the best epoch are kept; no checkpoint is left behind.
    """
    study.run()
    (plan,) = (event["plan"] for event in study.events() if event["event"] == "study")
    for record in study.finished().values():
        assert record["architecture"]["num_parameters"] == next(
            shape["num_parameters"]
            for shape in plan["architectures"]["architectures"]
            if all(shape[name] == value for name, value in record["architecture"]["values"].items())
        )
        assert set(record["hyperparameters"]) >= {"learning_rate", "dropout", "epochs", "warmup_steps", "weight_decay"}
        assert record["data"]["fingerprint"] == plan["data"]["fingerprint"]
        assert record["data"]["target"]["hash"] == plan["data"]["target"]["hash"]
        assert {"scalecore", "scalecore-patchtst", "torch", "code", "weights"} <= set(record["versions"])
        predictions = trial_predictions(study.folder, record_from(record))
        assert predictions is not None
        assert predictions.about["epoch"] == record["best"]["epoch"]
        assert len(predictions) == record["data"]["split"]["parts"]["val"]["windows"]
        assert predictions.losses().mean() == pytest.approx(record["best"]["val_loss"], rel=1e-6)
        assert record["memory"]["measured"] > 0
        assert record["throughput"] > 0
        assert len(record["learning_curve"]) == 2
    assert not list(study.folder.rglob("checkpoint*"))


def test_g32_forced_extremes_run_first_and_are_in_the_plan(study: Study) -> None:
    """The first trials are the forced ones of the plan, each label once."""
    study.write()
    planned = json.loads(study.cli("plan", str(study.file), "--json").stdout)["planned"]
    assert planned
    study.run()
    records = study.finished()
    forced = [record for _, record in sorted(records.items()) if record["origin"]["kind"] == "forced"]
    assert [record["origin"]["label"] for record in forced] == [proposal["origin"]["label"] for proposal in planned][
        : len(records)
    ]
    assert sorted(records)[: len(forced)] == [record["number"] for record in forced]
    search = json.loads(study.cli("status", str(study.folder), "--json").stdout)["search"]
    assert [(one["trial"], one["state"]) for one in search["forced"]] == [(r["number"], r["state"]) for r in forced]
    again = json.loads(study.cli("plan", str(study.file), "--json").stdout)
    assert all(again["forecast"]["seconds"].values())
    assert again["search"]["strategy"]["method"] == search["strategy"]["method"]
    assert search["strategy"]["recommended"]["number"] in records


def test_plan_writes_nothing(study: Study) -> None:
    """`plan` and `run --dry-run` print the same and write nothing."""
    study.write()
    plan, dry = study.cli("plan", str(study.file)), study.cli("run", str(study.file), "--dry-run")
    # Other tests run studies on this machine at the same time, which the plan reports.
    machine = re.compile("other runs:|GB free at")
    texts = [[line for line in one.stdout.splitlines() if not machine.search(line)] for one in (plan, dry)]
    assert texts[0] == texts[1]
    for expected in (
        "Architectures: ",
        "Forced trials (run first): ",
        "train ",
        "purge ",
        "Unknown until the first trial: ",
    ):
        assert expected in plan.stdout
    assert sorted(path.name for path in study.root.iterdir()) == ["experiment.yaml"]


def test_g56_the_plan_counts_windows_across_a_gap(study: Study, bars: Path) -> None:
    """With a missing year the plan has the gap, its row and the windows across it, and its JSON the counts by part."""
    frame = pd.read_parquet(bars)
    frame.drop(frame.index[200:461]).to_csv(study.root / "bars.csv", sep=";", decimal=",")
    study.experiment["guards"] = {"min_validation_samples": 50}
    study.experiment["dataset"] |= {"path": "bars.csv", "read": {"separator": ";", "decimal": ","}}
    study.write()
    plan = study.cli("plan", str(study.file))
    assert (
        "  steps: usually 1 day; longest 366 days after row 199 (2015-10-07); 1 is longer than 7 days 12 h, crossed by "
        "11 windows and 1 label"
    ) in plan.stdout.splitlines()
    data = json.loads(study.cli("plan", str(study.file), "--json").stdout)["data"]
    assert (data["steps"]["windows"], data["steps"]["labels"]) == (
        {"train": 11, "val": 0, "test": 0},
        {"train": 1, "val": 0, "test": 0},
    )
    assert [flag["kind"] for flag in data["flags"] if flag["guard"] == "G56"] == ["gaps"]


def test_the_total_is_a_total(study: Study) -> None:
    """A finished study runs nothing again, and only the difference when the total is raised (G37)."""
    study.run()
    before = study.finished()
    study.run()
    assert study.finished() == before
    study.run("search.trials=6")
    after = study.finished()
    assert sorted(after) == [0, 1, 2, 3, 4, 5]
    assert {number: after[number] for number in before} == before


def test_the_seed_decides_everything(study: Study, tmp_path: Any) -> None:
    """Two runs of one file in two folders have the same trials and weights; another seed has others."""
    runs = []
    for name, seed in (("one", 5), ("two", 5), ("three", 6)):
        other = Study(study.root, {**study.experiment, "name": name, "seed": seed})
        other.experiment["search"] = {**study.experiment["search"], "trials": 3}
        other.run()
        runs.append([(r["hash"], r["value"], r["versions"]["weights"]) for _, r in sorted(other.finished().items())])
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]


def test_status_reports_a_study(study: Study) -> None:
    """It accepts the folder and the experiment file, prints text and JSON, and reports a missing study."""
    study.write()
    missing = study.cli("status", str(study.file), code=2)
    assert "no study here" in missing.stderr
    study.run()
    for place in (study.folder, study.file):
        shown = study.cli("status", str(place))
        assert shown.stdout.startswith("tiny: completed; 5 of 5 trials finished (5 completed)")
    found = json.loads(study.cli("status", str(study.folder), "--json").stdout)
    assert found["best"]["value"] == min(record["value"] for record in study.finished().values())


def test_g02_the_best_value_has_an_interval(study: Study) -> None:
    """Every record has block-bootstrap intervals of its loss and metrics; the best value is shown with its interval.

    Before the first trial, the smoke step reports its time and memory.
    """
    done = study.run("search.trials=2")
    records = study.finished()
    for record in records.values():
        for name in ("val_loss", "accuracy", "auc", "pr_auc", "brier"):
            interval = record["best"]["intervals"][name]
            assert interval["low"] < record["best"][name] < interval["high"]
    best = min(records.values(), key=lambda record: record["value"])
    interval = best["best"]["intervals"]["val_loss"]
    smoke = next(event["results"] for event in study.events() if event["event"] == "smoke")
    assert all(one["seconds"] > 0 and one["peak_memory"] > 0 for one in smoke.values())
    assert all(one["micro_batch"] == 8 for one in smoke.values())
    # The memory of a bare process is measured, so this does not depend on the build of torch.
    assert all(one["predicted_memory"] == pytest.approx(one["peak_memory"], rel=0.15) for one in smoke.values())
    assert f"smallest {smoke['smallest']['architecture']} {smoke['smallest']['seconds']:.1f} s" in done.stdout
    shown = f"val_loss {best['value']:.4f} ({interval['low']:.4f} to {interval['high']:.4f})"
    assert shown in done.stdout
    assert shown in (study.folder / "tiny_study_summary.md").read_text()


@pytest.mark.parametrize(
    ("target", "loss", "expected"),
    [
        ("forward_return", {"kind": "quantile"}, {"kind": "quantile", "quantiles": [0.1, 0.5, 0.9]}),
        ("direction", {"kind": "focal", "positive_weight": "auto"}, {"kind": "focal", "gamma": 2.0}),
    ],
)
def test_the_loss_of_the_file_is_what_trials_minimise(
    study: Study, target: str, loss: dict[str, Any], expected: dict[str, Any]
) -> None:
    """Plan, head and record (with weights as numbers) have it; `val_loss` still ranks the trials."""
    study.experiment["dataset"]["target"] = {"kind": target, "horizon": 1}
    study.experiment["training"]["loss"] = loss
    study.run("search.trials=1")
    record = study.finished()[0]
    if "positive_weight" in loss:
        negative, positive = record["data"]["split"]["parts"]["train"]["classes"]
        expected = {**expected, "positive_weight": negative / positive}
    assert record["loss"] == expected
    assert next(event["plan"]["loss"] for event in study.events() if event["event"] == "study") == expected
    best, predictions = record["best"], trial_predictions(study.folder, record_from(record))
    assert predictions is not None
    assert predictions.outputs.shape[1] == len(expected.get("quantiles", [0]))
    assert predictions.losses().mean() == pytest.approx(best["val_loss"], rel=1e-6)
    assert best["val_training_loss"] != pytest.approx(best["val_loss"], rel=1e-3)


def test_several_slots_run_trials_in_parallel(study: Study) -> None:
    """Two trials run at once, no forced trial is run twice, and the study reaches its total."""
    study.experiment["execution"]["slots"] = 2
    study.experiment["training"]["hyperparameters"]["epochs"] = 6
    study.experiment["search"]["trials"] = 6
    study.run()
    records = study.finished()
    assert sorted(records) == list(range(6))
    labels = [r["origin"]["label"] for r in records.values() if r["origin"]["kind"] == "forced"]
    assert len(set(labels)) == len(labels)
    running = most = 0
    for event in study.events():
        running += {"attempt_started": 1, "attempt_ended": -1}.get(event["event"], 0)
        most = max(most, running)
    assert most == 2


def test_a_pruned_trial_keeps_its_last_value_and_its_reason(study: Study) -> None:
    """A trial that the pruner ends is in the tables with its reason, and is never the best."""
    study.experiment["search"] |= {
        "inner": "tpe",
        "forced": "none",
        "startup_trials": 2,
        "trials": 8,
        "pruner": "median",
        "prune_after": 1,
    }
    # The pruner compares trials of similar depth: with one depth, eight trials suffice.
    study.experiment["model"]["n_layers"] = [2]
    study.experiment["search"]["space"]["learning_rate"] = {"log_uniform": [1e-7, 1e-2]}
    study.experiment["training"]["hyperparameters"] = {"epochs": 6, "warmup_steps": 0}
    study.run()
    records = study.finished()
    pruned = {number: r for number, r in records.items() if r["state"] == "pruned"}
    assert pruned, "this seed prunes no trial; choose another"
    for number, record in pruned.items():
        assert record["reason"].startswith("pruned by the strategy after epoch ")
        assert record["value"] is not None
        assert study.json("tiny_4000_best.json")["best_trial"] != number
        assert f"| {number} | pruned: " in (study.folder / "tiny_study_summary.md").read_text()
