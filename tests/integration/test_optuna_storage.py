"""The logger `optuna` in a real study whose driver is killed, read by Optuna's own functions."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
from optuna import load_study
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from .conftest import Study, kill


def test_a_killed_study_has_every_trial_once_in_each_storage(study: Study, tmp_path: Path) -> None:
    """Value, parameters, learning curve and best trial match the journal; an export adds nothing."""
    study.experiment["loggers"] = ["console", {"use": "optuna", "storage": "sqlite:///study.db"}, "optuna"]
    study.experiment["search"]["trials"] = 2
    study.hold("trial_0001/attempt_0/epochs.jsonl")
    process = study.start()
    worker = study.held("trial_0001/attempt_0/epochs.jsonl")
    # The lock of a killed writer keeps Optuna's journal locked for longer than a run waits for its loggers.
    study.wait_for(lambda: not (study.folder / "optuna.journal.lock").is_symlink(), "the writer of the journal")
    kill(process)
    os.kill(worker, signal.SIGKILL)
    done = study.run()
    assert "warning" not in done.stdout
    study.cli("export", "optuna", str(study.folder))

    records = study.finished()
    journal = JournalStorage(JournalFileBackend(str(study.folder / "optuna.journal")))
    for storage in (f"sqlite:///{study.folder}/study.db", journal):
        found = load_study(study_name="tiny", storage=storage)
        assert [trial.state for trial in found.trials] == [TrialState.COMPLETE] * len(records)
        for trial, (number, record) in zip(found.trials, sorted(records.items()), strict=True):
            assert (trial.user_attrs["trial"], trial.user_attrs["hash"]) == (number, record["hash"])
            assert trial.value == record["value"]
            values = {**record["architecture"]["values"], **record["hyperparameters"]}
            assert trial.params == {name: values[name] for name in trial.params}
            assert {"d_model", "n_layers", "learning_rate"} <= trial.params.keys()
            curve = {line["epoch"]: line["val_loss"] for line in record["learning_curve"]}
            assert trial.intermediate_values == curve
        status = json.loads(study.cli("status", str(study.folder), "--json").stdout)
        assert found.best_trial.user_attrs["trial"] == status["best"]["number"]


def test_an_unreachable_storage_causes_one_warning(study: Study) -> None:
    """The study completes without it; the command in the warning writes the trials later."""
    study.experiment["loggers"] = ["console", {"use": "optuna", "storage": "sqlite:///there/study.db"}]
    done = study.run("search.trials=1")
    command = f"scalecore export optuna {study.folder}"
    warnings = [line for line in done.stdout.splitlines() if line.startswith("warning:")]
    assert warnings == [
        "warning: logger 'optuna' failed: sqlite:///there/study.db cannot be used: unable to open database file; the "
        f"study continues without it, and `{command}` writes the missing data"
    ]
    (study.folder / "there").mkdir()
    assert study.cli(*command.split()[1:]).stderr == ""
    found = load_study(study_name="tiny", storage=f"sqlite:///{study.folder}/there/study.db")
    assert [trial.user_attrs["trial"] for trial in found.trials] == [0]


@pytest.mark.parametrize("command", ["dashboard studies/tiny", "dashboard --port 0 studies/tiny"])
def test_the_removed_command_dashboard_names_its_replacement(study: Study, command: str) -> None:
    """One line, with the exit code of an invalid command line."""
    done = study.cli(*command.split(), code=2)
    assert done.stdout == ""
    assert done.stderr == (
        "the command 'dashboard' was removed in 0.2: run `scalecore export optuna STUDY`, or use the logger optuna, "
        "and open its storage with optuna-dashboard\n"
    )
