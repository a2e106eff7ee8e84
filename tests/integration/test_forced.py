"""Forced configurations from the file to the journal."""

from __future__ import annotations

import json

from .conftest import Study


def test_g32_own_configurations_are_checked_planned_and_run(study: Study) -> None:
    """Mistakes are refused with their places: names and values before the data is read, the budget by the plan."""
    search = study.experiment["search"]
    shape = {"d_model": 16, "n_layers": 1, "n_heads": 2, "d_ff_ratio": 2}
    good = {"architecture": shape, "hyperparameters": {"learning_rate": 0.001}}
    search["forced"] = [
        {"architecture": {"d_model": 16, "n_layers": 1, "d_ff_ratio": 2}, "hyperparameters": {"dropout": 0.5}},
        good,
        {"architecture": {**shape, "n_layers": 4, "d_ff_ratio": 4}},
    ]
    study.write()
    for command in ("check", "plan", "run"):
        lines = study.cli(command, str(study.file), code=2).stderr.splitlines()
        assert [line.partition(": search.forced.")[2] for line in lines] == [
            "0.architecture: n_heads missing: 2 shapes of the model have d_model=16 n_layers=1 d_ff_ratio=2",
            "0.hyperparameters.dropout: 0.5 is outside of search.space: within 0.1, 0.3",
        ]
        places = [line.removeprefix(f"{study.file}:").split(":")[:2] for line in lines]
        assert all(row.isdigit() and column.isdigit() for row, column in places)
    del search["forced"][0]
    study.write()
    study.cli("check", str(study.file))
    (line,) = study.cli("run", str(study.file), code=2).stderr.splitlines()
    assert "search.forced.1.architecture: d_model=16 n_layers=4 n_heads=2 d_ff=64 cannot run: it has " in line
    assert line.endswith(" parameters, the budget allows 1,600 to 6,400")
    assert not study.folder.exists()

    search |= {"forced": [good, "hyperparameters"], "trials": 6}
    study.write()
    planned = json.loads(study.cli("plan", str(study.file), "--json").stdout)["planned"]
    assert [one["origin"]["label"] for one in planned] == [
        "configuration:1",
        "learning_rate:min",
        "learning_rate:max",
        "dropout:min",
        "dropout:max",
    ]
    study.run()
    records = [record for _, record in sorted(study.finished().items())]
    assert [record["origin"]["label"] for record in records[:5]] == [one["origin"]["label"] for one in planned]
    assert [record["architecture"]["values"] for record in records[:5]] == [
        one["architecture"]["values"] for one in planned
    ]
    assert records[0]["architecture"]["values"] == {"d_model": 16, "n_layers": 1, "n_heads": 2, "d_ff": 32}
    assert records[0]["hyperparameters"]["learning_rate"] == 0.001
    found = json.loads(study.cli("status", str(study.file), "--json").stdout)["search"]["forced"]
    assert [(one["trial"], one["state"]) for one in found] == [(number, "completed") for number in range(5)]
    search |= {"trials": 4}
    study.write()
    warned = json.loads(study.cli("plan", str(study.file), "--json").stdout)["findings"]
    assert [one["message"] for one in warned if one["subject"] == "forced"] == [
        "5 forced trials, but search.trials is 4: 1 of them never run"
    ]
