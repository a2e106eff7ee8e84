"""A study with one plugin package, in an environment with only the core, its trainer and this package.

tox creates an environment for each package with `pip install` from the wheels and names the package in
`SCALECORE_ALONE`. In other environments the tests are skipped.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
ENVIRONMENT = os.environ.get("SCALECORE_ALONE", "")
PACKAGES = {"core": "scalecore", "example": "scalecore-example"}

pytestmark = pytest.mark.skipif(not ENVIRONMENT, reason="only in a package's own tox environment")

USES: dict[str, dict[str, Any]] = {
    "core": {},
    "patchtst": {
        "model": {"use": "patchtst", "patch_len": 4, "stride": 4, "d_model": [8], "n_layers": [1], "n_heads": [2]}
    },
    "optuna": {"search": {"use": "architectural"}},
    "hwmon": {"monitors": ["memory", "disk"]},
    "market": {
        "dataset": {
            "use": "market",
            "symbol": "SPY",
            "file": str(ROOT / "examples" / "data" / "spy_daily.parquet"),
            "tier": "a25",
            "target": {"kind": "direction"},
            "context": 8,
        }
    },
    "analysis": {"analyses": ["results"]},
    "promotion": {},
    "trackers": {"loggers": ["tensorboard"]},
    "example": {"model": {"use": "tcn", "channels": [4], "levels": [1]}, "search": {"use": "evolution"}},
}
"""The sections of the experiment that use the package; all other components are built in."""


def scalecore(*arguments: str, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "scalecore", *arguments], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def experiment(tmp_path: Path) -> Path:
    """A study of two trials in a separate folder."""
    from scalecore.testing.fakes import EXPERIMENT, write_walk

    write_walk(tmp_path)
    uses = USES[ENVIRONMENT]
    search = {**EXPERIMENT["search"], "trials": 2, **uses.get("search", {})}
    path = tmp_path / "experiment.yaml"
    path.write_text(yaml.safe_dump({**EXPERIMENT, **uses, "search": search, "output": "study"}))
    return path


def test_no_other_package_is_installed(tmp_path: Path) -> None:
    """`scalecore plugins` lists the core, the trainer and the package as ok; scalecore-promotion has commands only."""
    package = PACKAGES.get(ENVIRONMENT, f"scalecore-{ENVIRONMENT}")
    names = {dist.name for dist in importlib.metadata.distributions() if dist.name.startswith("scalecore")}
    assert names == {"scalecore", "scalecore-torch", package}
    listed = json.loads(scalecore("plugins", "--json", folder=tmp_path))
    expected = dict.fromkeys(names - {"scalecore-promotion"}, "ok")
    assert {plugin["distribution"]: plugin["status"] for plugin in listed} == expected


def test_a_study_runs(experiment: Path) -> None:
    """`check`, `plan`, `run` and `status` work with the package's components."""
    package = PACKAGES.get(ENVIRONMENT, f"scalecore-{ENVIRONMENT}")
    checked = scalecore("check", str(experiment), folder=experiment.parent)
    if USES[ENVIRONMENT] or ENVIRONMENT == "core":
        assert f"({package} " in checked
    scalecore("plan", str(experiment), folder=experiment.parent)
    scalecore("run", str(experiment), folder=experiment.parent)
    status = scalecore("status", "study", folder=experiment.parent)
    assert status.startswith("walk: completed; 2 of 2 trials finished")
    if ENVIRONMENT == "analysis":
        assert (experiment.parent / "study" / "analyses" / "results" / "result.json").exists()
        scalecore("report", "study", folder=experiment.parent)
        scalecore("confirm", "study", "--top", "1", "--seeds", "2", folder=experiment.parent)
    if ENVIRONMENT == "promotion":
        scalecore("evaluate", "study", "--trial", "0", folder=experiment.parent)
        scalecore("predict", "study/promoted/trial_0000", "--dataset", "path=walk.csv", folder=experiment.parent)
