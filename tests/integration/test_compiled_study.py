"""Attempts of a study share compiled blocks, and no file of the compiler is left."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from .conftest import Study

LOGGED = """#!/bin/sh
for word in "$@"; do case "$word" in *.so) echo "$word" >> "{log}";; esac; done
exec {real} "$@"
"""


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
def test_trials_of_one_width_share_their_compiled_blocks(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first trial compiles for all depths and dropouts.

    Files left in the folder by an earlier run are not used, and the folder is removed at the end.
    """
    compiler, log = tmp_path / "g++", tmp_path / "libraries"
    compiler.write_text(LOGGED.format(log=log, real=shutil.which("g++")))
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    study.experiment["model"] |= {"d_model": [16], "n_layers": [1, 2], "n_heads": [2], "d_ff_ratio": [2]}
    study.experiment["search"] |= {"trials": 3, "tolerance": 0.99}
    study.experiment["training"] |= {"compile": "block", "effective_batch": 32}
    left = study.folder / "compiled" / "theirs"
    left.mkdir(parents=True)
    (study.folder / "journal.jsonl").touch()
    study.run("execution.slots=1")
    records = study.finished()
    assert [record["reason"] for record in records.values()] == [None] * 3
    assert {record["architecture"]["values"]["n_layers"] for record in records.values()} == {1, 2}
    assert len({record["hyperparameters"]["dropout"] for record in records.values()}) > 1
    assert {record["policy"]["compile"] for record in records.values()} == {"block"}
    owners = {Path(line).parents[2].parent.name for line in log.read_text().splitlines() if "/trial_" in line}
    assert owners == {"trial_0000"}
    assert not (study.folder / "compiled").exists()
    assert [*study.folder.rglob("*.so")] == []
    study.cli("verify", str(study.folder))
