"""Complete studies on a GPU, through the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import datetime
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from .conftest import CONTEXT, FEATURES


def experiment(prices: np.ndarray, folder: Path) -> dict[str, Any]:
    """A study over shapes of about ten thousand parameters, on prices from a file."""
    days = np.datetime64("2000-01-03") + np.arange(len(prices))
    names = ["Close", *(f"f{n}" for n in range(1, FEATURES))]
    lines = [",".join((str(day), *map(str, row))) for day, row in zip(days, prices, strict=True)]
    (folder / "walk.csv").write_text("\n".join([",".join(("Date", *names)), *lines]))
    return {
        "name": "study",
        "seed": 5,
        "dataset": {
            "use": "parquet",
            "path": "walk.csv",
            "features": names,
            "target": {"kind": "direction"},
            "context": CONTEXT,
        },
        "model": {"use": "patchtst", "patch_len": 4, "stride": 4, "d_model": [16, 32], "n_layers": [1, 2, 4]},
        "search": {"use": "random", "space": {"learning_rate": {"log_uniform": [1e-3, 1e-2]}}},
        "training": {"effective_batch": 64, "hyperparameters": {"epochs": 2, "warmup_steps": 5}},
        "guards": {"min_validation_samples": 20, "min_validation_positives": 5},
        "loggers": ["console"],
    }


def run(content: dict[str, Any], folder: Path) -> list[dict[str, Any]]:
    """Run the study and return its journal."""
    (folder / "experiment.yaml").write_text(yaml.safe_dump(content))
    done = subprocess.run(
        [sys.executable, "-m", "scalecore", "run", str(folder / "experiment.yaml")],
        cwd=folder,
        env={**os.environ, "COLUMNS": "200"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    lines = (folder / "studies" / content["name"] / "journal.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def records(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [event["record"] for event in events if event["event"] == "trial_finished"]


def test_an_attempt_trains_on_the_gpu(prices: np.ndarray, tmp_path: Path, device: torch.device) -> None:
    """Smoke step, admission, memory limit, training, evaluation and record work, in bfloat16; memory is measured."""
    content = experiment(prices, tmp_path)
    content["search"]["trials"] = 1
    content["training"]["device"] = device.type
    (record,) = records(run(content, tmp_path))
    assert (record["state"], record["reason"]) == ("completed", None)
    assert record["versions"]["run:device"].startswith(device.type)
    assert record["timings"]["train_seconds"] > 0
    assert record["memory"]["measured"] > 0
    if device.type == "cuda":
        supports = torch.cuda.get_device_capability() >= (8, 0)
        assert record["policy"]["precision"] == ("bf16" if supports else "fp32")
        assert any(text.startswith("CUDA allocator ") for text in record["attempts"][0]["contained"])
        assert record["memory"]["traced_on"] == "cuda", record["memory"].get("note")


def test_four_trials_share_one_gpu_in_four_slots(prices: np.ndarray, tmp_path: Path, device: torch.device) -> None:
    """All complete, two or more of them ran at once, and `auto` selects the GPU."""
    content = experiment(prices, tmp_path)
    content["search"]["trials"] = 4
    content["training"] |= {"device": "auto" if device.type == "cuda" else device.type, "threads": 1}
    content["training"]["hyperparameters"]["epochs"] = 20
    content["execution"] = {"slots": 4}
    events = run(content, tmp_path)
    found = records(events)
    assert [record["state"] for record in found] == ["completed"] * 4
    assert {record["versions"]["run:device"].partition(":")[0] for record in found} == {device.type}
    times = [tuple(datetime.fromisoformat(record[name]) for name in ("started", "ended")) for record in found]
    assert any(one[0] < two[1] and two[0] < one[1] for one, two in combinations(times, 2))
