"""Created `v0_1/`, studies of scalecore 0.1, and `golden.json`, the results of the same trials without interruption.

It was run once, in an environment with all packages of commit eca72b7, from the root of that commit:

    python tests/old/make_v0_1.py

It is kept to document the files; later versions cannot create them.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "integration"))
sys.path.insert(0, str(HERE))

from conftest import Study  # noqa: E402 - that of tests/integration
from places import MARKER, PORTABLE, TEXTS, vendor  # noqa: E402

PATCHTST = {
    "use": "patchtst",
    "patch_len": 4,
    "stride": 4,
    "d_model": [8, 16],
    "n_layers": [1, 2, 4],
    "n_heads": [1, 2],
}
SPACE = {"learning_rate": {"log_uniform": [1e-3, 1e-2]}, "dropout": {"uniform": [0.1, 0.3]}}
RANDOM = {"use": "random", "budget": 4000, "tolerance": 0.6, "trials": 2, "space": SPACE}


def prices(path: Path) -> None:
    """900 days of made-up prices, each weakly dependent on the previous day, with three classes of return."""
    generator = np.random.default_rng(3)
    noise = generator.normal(0, 0.01, 900)
    returns = noise + 0.4 * np.concatenate([[0.0], noise[:-1]])
    ahead = np.append(returns[1:], 0.0)
    table = pd.DataFrame(
        {
            "Close": (100 * np.exp(np.cumsum(returns))).round(4),
            "Volume": generator.integers(1_000, 9_000, 900),
            "Move": np.digitize(ahead, [-0.004, 0.004]),
        },
        index=pd.bdate_range("2015-01-01", periods=900, name="Date"),
    )
    table.to_csv(path)


def experiment(name: str, target: dict[str, Any], search: dict[str, Any], **training: Any) -> dict[str, Any]:
    return {
        "name": name,
        "seed": 5,
        "dataset": {
            "use": "parquet",
            "path": "data/prices.csv",
            "features": ["Close", "Volume"],
            "target": target,
            "context": 12,
        },
        "model": PATCHTST,
        "search": search,
        "training": {
            "effective_batch": 64,
            "threads": 1,
            "checkpoint_every": 0.05,
            "compile": "off",
            "hyperparameters": {"epochs": 8, "warmup_steps": 5},
            **training,
        },
        "execution": {"stop_grace": 20.0, "retry": {"crash": 0}},
        "monitors": [],
        "loggers": ["console", "files", "csv"],
    }


def experiments() -> list[dict[str, Any]]:
    search = {"use": "architectural", "inner": "random", "trials": 11, "startup_trials": 2, "prune_strata": 1}
    search |= {"pruner": "median", "prune_after": 1}
    return [
        experiment("classification", {"kind": "direction", "horizon": 1}, {**RANDOM, **search}),
        experiment("forecast", {"kind": "forward_return", "horizon": 1}, RANDOM),
        experiment(
            "confirmed",
            {"kind": "label", "column": "Move"},
            RANDOM,
            loss={"kind": "cross_entropy", "label_smoothing": 0.1},
        ),
    ]


class Made(Study):
    """A study in the common project, with an experiment file of its name."""

    @property
    def file(self) -> Path:
        return self.root / f"{self.experiment['name']}.yaml"


def ran(study: Study, *, fails: int | None, stops: int | None) -> None:
    """Run the study; kill trial `fails` during training, and stop the study during trial `stops`."""
    places = {one: f"trial_{one:04d}/attempt_0/epochs.jsonl" for one in (fails, stops) if one is not None}
    for place in places.values():
        study.hold(place, beside=["checkpoint.json"])
    process = study.start()
    if fails is not None:
        os.kill(study.held(places[fails]), signal.SIGKILL)
    if stops is not None:
        worker = study.held(places[stops])
        process.send_signal(signal.SIGINT)
        os.kill(worker, signal.SIGCONT)
    output, _ = process.communicate(timeout=120)
    print(output)
    assert process.returncode == (0 if stops is None else 7), process.returncode
    shutil.rmtree(study.root / "hold", ignore_errors=True)
    study.path.clear()


def golden(study: Study) -> dict[str, Any]:
    """Weights and value of every trial that has both."""
    found = {}
    for number, record in sorted(study.finished().items()):
        if record["state"] == "completed":
            found[str(number)] = {
                "weights": record["versions"]["weights"],
                "value": record["value"],
                "hash": record["hash"],
            }
    return found


def main() -> None:
    os.environ.update(PORTABLE)
    # Resolved, so that the marker replaces every path.
    root = Path(tempfile.mkdtemp(prefix="studies-of-0.1-")).resolve()
    twin_root = Path(tempfile.mkdtemp(prefix="undisturbed-")).resolve()
    figures = {}
    for folder in (root, twin_root):
        (folder / "data").mkdir()
        prices(folder / "data" / "prices.csv")
    for one in experiments():
        study, twin = Made(root, one), Made(twin_root, one)
        fails = 1 if one["name"] == "classification" else None
        ran(twin, fails=fails, stops=None)
        figures[one["name"]] = golden(twin)
        last = max(map(int, figures[one["name"]]))
        ran(study, fails=fails, stops=None if one["name"] == "confirmed" else last)
    for arguments in (("confirm", "--top", "2", "--seeds", "2"), ("promote",)):
        done = study.cli(arguments[0], str(study.folder), *arguments[1:])
        print(done.stdout + done.stderr)
        assert done.returncode == 0
    shutil.rmtree(HERE / "v0_1", ignore_errors=True)
    shutil.copytree(root, HERE / "v0_1", ignore=shutil.ignore_patterns("*.schema.json", ".lock"))
    for path in sorted((HERE / "v0_1").rglob("*")):
        if path.suffix in TEXTS and str(root) in (text := path.read_text()):
            path.write_text(text.replace(str(root), MARKER))
    content = {"made": {"machine": platform.machine(), "vendor": vendor()}, "studies": figures}
    (HERE / "golden.json").write_text(json.dumps(content, indent=1) + "\n")
    left = [path for path in (HERE / "v0_1").rglob("*") if path.is_file() and str(root).encode() in path.read_bytes()]
    print("places left:", left)


if __name__ == "__main__":
    main()
