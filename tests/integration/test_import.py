"""Imports of old results: every record is checked, gets a verdict and is imported once."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from scalecore.api.errors import RefusedError
from scalecore.api.record_parts import Flag
from scalecore.api.trials import Outcome, TrialState
from scalecore.planning.preview import state_of
from scalecore.plugins.registry import Registry, load_registry
from scalecore.store.layout import StudyFolder
from scalecore.store.lock import StudyLock
from scalecore_analysis.importing.decisions import Decision
from scalecore_analysis.importing.import_results import import_results

from .conftest import Study

SHAPE = {"d_model": 16, "n_layers": 2, "n_heads": 1, "d_ff": 32}
PARAMS = {**SHAPE, "learning_rate": 2e-3, "dropout": 0.15}
COUNT = 4881


@pytest.fixture(scope="module")
def registry() -> Registry:
    return load_registry()


def old(**changes: Any) -> dict[str, Any]:
    """A record of the first of the two old shapes."""
    return {"number": 1, "value": 0.62, "state": "COMPLETE", "params": PARAMS, **changes}


def without(*names: str) -> dict[str, Any]:
    return {name: value for name, value in PARAMS.items() if name not in names}


def without_forced(*names: str) -> dict[str, Any]:
    return {f"forced_{name}": value for name, value in without(*names).items()}


def judged(study: Study, registry: Registry, *records: Any, **options: Any) -> list[Decision]:
    study.write()
    path = study.root / "old.json"
    path.write_text(json.dumps(list(records)))
    study.experiment["output"] = str(study.folder)
    study.write()
    return list(import_results([path], study.file, registry=registry, **options).verdicts)


FORCED = without_forced()


@pytest.mark.parametrize(
    ("record", "verdict", "reason"),
    [
        (old(), "taken", None),
        (old(state="TrialState.COMPLETE", user_attrs={"accuracy": 0.5}), "taken", None),
        (old(params={}, user_attrs=FORCED), "taken", None),
        (old(params=without(*SHAPE), user_attrs={"architecture": {**SHAPE, "param_count": COUNT}}), "taken", None),
        (old(params=without(*SHAPE), user_attrs=dict(SHAPE)), "taken", None),
        (old(params={**without("d_ff", "n_heads"), "d_ff_ratio": 2, "head_dim": 16}), "taken", None),
        (old(params={}, user_attrs={**without_forced("d_ff"), "forced_d_ff_ratio": 2.0}), "taken", None),
        (old(params={name: str(value) for name, value in PARAMS.items()}, value="0.62"), "taken", None),
        (old(state="PRUNED"), "taken", None),
        (old(params=without("dropout")), "taken with missing parameters", "missing dropout"),
        (old(state="FAIL", value=None), "refused", "no result: ended as failed"),
        ({"number": 1, "value": 0.62, "params": PARAMS}, "refused", "no result: no state"),
        (old(state="RUNNING"), "refused", "no result: state 'RUNNING'"),
        (old(value=float("nan")), "refused", "no result: ended as completed without a finite value"),
        (
            old(params={"arch_idx": 0, "learning_rate": 2e-3}),
            "refused",
            "the architecture is only an index (0) into a list that the record does not contain",
        ),
        (
            old(params={**PARAMS, "n_layers": 4, "d_ff": 64}),
            "refused",
            "d_model=16,n_layers=4,n_heads=1,d_ff=64 has 13,553 parameters, outside the budget (1,600 to 6,400)",
        ),
        (old(params={**PARAMS, "patch_len": 6}), "refused", "patch_len=6, but the study fixes it at 4"),
        (
            old(user_attrs={"dry_run": True}),
            "refused",
            "no result: marked as dry_run=True",
        ),
        (old(user_attrs={"dry_run": False}), "taken", None),
        (old(user_attrs={"metric": "bce"}), "taken", None),
        (
            old(user_attrs={"metric": "auc"}, hash="0" * 64),
            "refused",
            "the metric is auc, but the study's is val_loss",
        ),
        (old(params={**PARAMS, "dropout": 0.9}), "refused", "dropout=0.9 is outside the study's space"),
        (
            old(params={**PARAMS, "dropout": 10**400}),
            "refused",
            f"dropout={10**400} is outside the study's space",
        ),
        (old(user_attrs={"data": {"fingerprint": 5}}), "taken", None),
        (old(params={**PARAMS, "epochs": 50}), "refused", "epochs=50, but the study fixes it at 2"),
        (
            old(user_attrs={"architecture": {**SHAPE, "d_model": 8}}),
            "refused",
            "contradictory values: d_model is 16 and 8",
        ),
        ({"name": "no trial"}, "refused", "not a trial: neither `state` nor `params` is present"),
    ],
)
def test_every_record_gets_its_verdict(
    study: Study, registry: Registry, record: Any, verdict: str, reason: str | None
) -> None:
    """Both old formats, forced trials with values in attributes (G20), and every reason for a refusal."""
    (found,) = judged(study, registry, record, dry_run=True)
    assert (found.verdict, found.reason) == (verdict, reason)
    if verdict == "taken":
        assert found.architecture is not None
        assert dict(found.architecture.values) == SHAPE
        assert dict(found.hyperparameters) == {"learning_rate": 2e-3, "dropout": 0.15}
    assert not study.folder.exists(), "the dry run wrote a file"


def test_g04_parameters_are_counted(study: Study, registry: Registry) -> None:
    """A note reports a wrong label with the count."""
    (found,) = judged(study, registry, old(user_attrs={"param_count": 200_000_000}), dry_run=True)
    assert found.architecture is not None
    assert found.architecture.num_parameters == COUNT
    assert found.notes[0] == "states 200,000,000 parameters; the architecture has 4,881 in this study"


@pytest.mark.parametrize(("budget", "tolerance"), [(4000, 0.6), (3600, 0.3), (14000, 0.3)])
def test_g17_a_missing_dimension_is_never_derived_from_the_budget(
    study: Study, registry: Registry, budget: int, tolerance: float
) -> None:
    """One, none or both of the possible architectures are within the budget."""
    study.experiment["search"] |= {"budget": budget, "tolerance": tolerance}
    (found,) = judged(study, registry, old(params=without("d_ff")), dry_run=True)
    assert (found.verdict, found.reason) == (
        "refused",
        "missing d_ff: 2 architectures have d_model=16,n_layers=2,n_heads=1; d_ff_ratio would also suffice",
    )


def test_g17_a_derived_name_identifies_the_shape_that_the_budget_is_checked_for(
    study: Study, registry: Registry
) -> None:
    """With a ratio of 4 the shape is outside the budget, although the ratio 2 would fit."""
    study.experiment["search"] |= {"budget": 5000, "tolerance": 0.25}
    two, four = (old(params={**without("d_ff"), "d_ff_ratio": ratio}) for ratio in (2, 4))
    found = judged(study, registry, two, four, dry_run=True)
    assert [(one.verdict, one.reason) for one in found] == [
        ("taken", None),
        (
            "refused",
            "d_model=16,n_layers=2,n_heads=1,d_ff=64 has 6,993 parameters, outside the budget (3,750 to 6,250)",
        ),
    ]


def test_a_dimension_completed_by_the_grid_is_noted(study: Study, registry: Registry) -> None:
    """Notes also list parameters that the study does not use, without marks of forced trials."""
    study.experiment["model"] |= {"d_ff_ratio": [2]}
    record = old(params={**without("d_ff"), "batch_size": 64}, user_attrs={"forced_reason": "min d_model"})
    (found,) = judged(study, registry, record, dry_run=True)
    assert found.verdict == "taken"
    assert found.notes[:2] == (
        "d_ff is missing; the model's grid has only d_ff=32 for the other dimensions",
        "not used by this study: batch_size",
    )


def test_importing_twice_changes_nothing(study: Study, registry: Registry) -> None:
    """The second import finds only duplicates, within a file and between files; the journal does not change."""
    first = judged(study, registry, old(), old(number=2), old(number=3, value=0.7))
    assert [one.verdict for one in first] == ["taken", "duplicate", "taken"]
    before = (study.folder / "journal.jsonl").read_bytes()
    assert [one.reason for one in judged(study, registry, old(number=9))] == ["already imported"]
    assert (study.folder / "journal.jsonl").read_bytes() == before


def test_an_import_without_accepted_records_creates_no_folder(study: Study, registry: Registry) -> None:
    """A refused import leaves no files."""
    assert [one.verdict for one in judged(study, registry, old(state="FAIL"))] == ["refused"]
    assert not study.folder.exists()


def test_imported_results_warm_start_and_do_not_count_as_trials(study: Study) -> None:
    """A study created by an import runs all its trials, has no imported best trial, and reports the import.

    Its trial files are comparable in a study with another seed, and duplicates in the study itself.
    """
    study.experiment["search"]["trials"] = 2
    study.write()
    path = study.root / "old.json"
    path.write_text(json.dumps([old(value=0.01), old(state="FAIL")]))
    done = study.cli("import", str(path), "--into", str(study.file), "--json")
    content = json.loads(done.stdout)
    assert content["counts"] == {"taken": 1, "taken with missing parameters": 0, "duplicate": 0, "refused": 1}
    assert "not begun" in study.cli("status", str(study.folder)).stdout
    study.cli("import", str(path) + "x", "--into", str(study.file), code=2)

    study.run()
    assert sorted(study.finished()) == [0, 1]
    assert study.json("tiny_4000_best.json")["best_value"] > 0.01
    status = json.loads(study.cli("status", str(study.folder), "--json").stdout)
    assert (status["finished"], status["search"]["imported"]) == (2, {"count": 1, "comparable": 0})

    own = study.cli("import", str(study.folder / "trials"), "--into", str(study.folder), "--json")
    assert [one["reason"] for one in json.loads(own.stdout)["records"]] == [
        "trial 0 of this study",
        "trial 1 of this study",
    ]
    table = study.cli("import", str(study.root / "studies/experiment_results.csv"), "--into", str(study.folder))
    assert "duplicate: trial 0 of this study" in table.stdout
    study.experiment |= {"name": "other", "seed": 6}
    study.write()
    twice = study.cli("import", str(study.root / "studies"), "--into", str(study.file), "--dry-run", "--json")
    found, journal = json.loads(twice.stdout), study.root / "studies/tiny/journal.jsonl"
    assert found["counts"] == {"taken": 2, "taken with missing parameters": 0, "duplicate": 2, "refused": 0}
    assert found["records"][0]["reason"] == f"same as {journal}[trial 0]"
    other = study.cli("import", str(study.root / "studies/tiny"), "--into", str(study.file), "--dry-run", "--json")
    assert [one["comparable"] for one in json.loads(other.stdout)["records"]] == [True, True]
    study.experiment["model"] |= {"patch_len": 6}
    study.write()
    arguments = ("--into", str(study.file), "--dry-run", "--json")
    other = study.cli("import", str(study.root / "studies/tiny"), *arguments, code=5)
    reasons = [one["reason"] for one in json.loads(other.stdout)["records"]]
    assert reasons == ["patch_len=4, but the study fixes it at 6"] * 2


def test_g07_results_of_other_data_are_refused_unless_allowed(study: Study, registry: Registry) -> None:
    """A different fingerprint makes the value not comparable; the user can allow it."""
    record = old(user_attrs={"data": {"fingerprint": "0" * 64}})
    (refused,) = judged(study, registry, record, dry_run=True)
    assert refused.reason is not None
    assert refused.reason.startswith("measured on other data (fingerprint 000000000000, the study's ")
    assert refused.reason.endswith("so the value is not comparable; --allow-other-data imports it anyway")
    (taken,) = judged(study, registry, record, dry_run=True, other_data=True)
    assert (taken.verdict, taken.comparable) == ("taken", False)


def test_unreadable_files_are_reported_and_the_others_are_read(study: Study, registry: Registry) -> None:
    """Empty files and text are refused by name; a folder includes all its files."""
    folder = study.root / "old"
    folder.mkdir()
    (folder / "a.json").write_text("")
    (folder / "b.json").write_text("{")
    (folder / "c.json").write_text(json.dumps(old()))
    study.write()
    verdicts = import_results([folder], study.file, registry=registry, dry_run=True).verdicts
    assert [Path(one.record.source).name for one in verdicts] == ["a.json", "b.json", "c.json"]
    assert [one.verdict for one in verdicts] == ["refused", "refused", "taken"]
    assert verdicts[0].reason == "the file is empty"


def test_g22_an_import_leaves_a_run_that_has_just_begun_alone(study: Study, registry: Registry) -> None:
    """Refused while another process locks the folder, the import removes nothing, even before the first journal."""
    study.folder.mkdir(parents=True)
    lock = StudyLock(StudyFolder(study.folder))
    with pytest.raises(RefusedError, match=re.escape(f"this study is already running: process {os.getpid()} on ")):
        judged(study, registry, old())
    assert lock.still_ours()
    lock.release()


def test_g17_a_ratio_identifies_the_architecture_and_the_summary_counts_it(study: Study) -> None:
    """A file labelled 20m contains a shape of 1.3M parameters, which is refused by its count."""
    rng = np.random.default_rng(1)
    table = pd.DataFrame(rng.normal(size=(1500, 63)), columns=[f"f{number}" for number in range(63)])
    table.insert(0, "Date", pd.date_range("2000-01-01", periods=1500).astype(str))
    table["Close"] = np.exp(np.cumsum(rng.normal(0, 0.01, 1500)))
    table.to_csv(study.root / "wide.csv", index=False)
    study.experiment["dataset"] |= {"path": "wide.csv", "features": list(table.columns[1:64]), "context": 60}
    study.experiment["model"] = {"use": "patchtst"}
    study.experiment["search"] |= {"budget": "900k", "tolerance": 0.25}
    study.write()
    folder = study.root / "old" / "20m"
    folder.mkdir(parents=True)
    shape = {"d_model": 128, "n_layers": 6, "n_heads": 8, "d_ff_ratio": 4}
    params = {**shape, "learning_rate": 2e-3, "dropout": 0.15}
    forced = {"user_attrs": {f"forced_{name}": value for name, value in params.items()}}
    (folder / "spy_20m_all_trials.json").write_text(json.dumps([old(params=params), old(params={}, **forced)]))
    (study.root / "old" / "results.csv").write_text(
        "number,state,value,d_model,n_layers,n_heads,d_ff_ratio,auc\n0,COMPLETE,0.6,128,6,8,2,0.61\n"
    )

    done = study.cli("import", "old", "--into", str(study.file), "--dry-run")
    assert done.stderr == ""
    too_large = (
        "refused: d_model=128,n_layers=6,n_heads=8,d_ff=512 has 1,274,753 parameters, outside the budget "
        "(675,000 to 1,125,000)"
    )
    assert done.stdout == (
        "Summary of 2 files\n"
        "  trials: 3 (3 completed)\n"
        "  exact repeats: 1 of 3\n"
        "    1 with exactly the same value, 0 of them in another study\n"
        "  within the labelled budget: 0 of 2, counted for a context of 60 and 63 features\n"
        "    20m (15,000,000 to 25,000,000): 0 of 2, 1,274,753 parameters\n"
        "    unknown for 1: neither path nor content names a budget\n"
        "  content against path: unknown: path or content names no budget, tier or experiment\n"
        "  forced trials: 1, 1 with empty params\n"
        "  optimum at an edge: unknown: fewer than 3 values of each dimension have a result\n"
        "\n"
        "old/results.csv: taken with missing parameters: missing learning_rate, dropout; d_model=128 n_layers=6 "
        "n_heads=8 d_ff=256 params=880.0k, value 0.6; the file does not identify its data\n"
        f"old/20m/spy_20m_all_trials.json[0]: {too_large}\n"
        f"old/20m/spy_20m_all_trials.json[1]: {too_large}\n"
        "3 records: 0 taken, 1 taken with missing parameters, 0 duplicate, 2 refused; dry run: nothing was written\n"
    )
    plain = json.loads(study.cli("import", "old", "--into", str(study.file), "--dry-run", "--json").stdout)
    assert plain["summary"]["labels"][0]["within"] == 0
    assert not study.folder.exists()
    # The exit codes of an import: all records refused, and a missing path.
    study.cli("import", "old/20m", "--into", str(study.file), "--dry-run", code=5)
    study.cli("import", "old", "none", "--into", str(study.file), "--dry-run", code=2)
    # Without --dry-run accepted records are stored, and no summary is printed.
    done = study.cli("import", "old", "--into", str(study.file))
    assert "Summary" not in done.stdout
    assert done.stdout.endswith(f"2 refused; into {study.folder}\n")


def test_g09_the_flags_of_an_old_result_reach_the_strategy(study: Study, registry: Registry) -> None:
    """A collapsed trial is imported with its flag and is not a good result in the new study either."""
    flag = {"guard": "G09", "kind": "collapsed", "text": "predicts a constant"}
    judged(study, registry, old(flags=[flag]), old(value=0.61, flags="none"))
    first, second = state_of(StudyFolder(study.folder)).imported.values()
    wanted = Outcome(state=TrialState.COMPLETED, value=0.62, flags=(Flag(**flag),))
    assert first.restored(-2, space=()).outcome == wanted
    outcome = second.restored(-1, space=()).outcome
    assert outcome is not None
    assert not outcome.censored
