"""What a trial costs its study by how many trials it has: CPU of the driver, without any training.

Attempts end at once, with a result of eight epochs. A study is grown to each size by copies of its first trials in the
journal, then continued with the default loggers `console`, `files` and `csv`: the CPU time of the process from one
submission to the next, and that of the start, which replays the journal, compares the files of all trials and writes
the tables. Tables that are due within the measured trials count. What is written and flushed to the disk is real.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import report
import yaml
from attrs import evolve

from scalecore.api.analysis import TrainingContext
from scalecore.api.components import ExecutorRecord
from scalecore.api.executor import AttemptStatus
from scalecore.api.files import utc_now, write_json
from scalecore.config.resolve import load_resolved
from scalecore.execution.folder import AttemptFolder
from scalecore.plugins.registry import load_registry
from scalecore.store.state import read_state
from scalecore.study.run import run_study
from scalecore.testing.fakes import EXPERIMENT, write_walk

FIRST, AFTER = 8, 60
SIZES = (100, 1_000, 5_000, 20_000)
GOAL = {"milliseconds": 8.0, "ratio": 1.5}
"""At the largest size: a trial costs no more than this, and no more than so many times that at the smallest."""


class Instant:
    """An executor whose attempts have ended when they are submitted; notes the CPU time of each submission."""

    def __init__(self, times: list[float]) -> None:
        self._times = times

    def submit(self, folder: Path) -> Path:
        attempt = AttemptFolder(folder)
        spec = attempt.read_spec()
        result: dict[str, Any] = {"attempt": spec.attempt, "state": "completed", "reason": None, "seconds": 0.0}
        if spec.mode == "smoke":
            result |= {
                "unread": [],
                "read": list(spec.sampled),
                "step_seconds": 0.1,
                "memory": {"peak": 3 * 10**8, "micro_batch": 64},
            }
            result |= {
                "warnings": [],
                "metrics": {"val_loss": 0.6},
                "peak_memory": 3 * 10**8,
                "num_parameters": 3,
                "device": "cpu",
                "torch": "",
            }
        else:
            self._times.append(time.process_time())
            loss = 0.6 + (spec.seed % 10**6) / 10**7
            curve = [
                {"epoch": epoch, "train_loss": loss, "val_loss": loss + 0.01 / epoch, "auc": loss, "seconds": 0.1}
                for epoch in range(1, 9)
            ]
            best = {**curve[-1], "predictions": {"min": 0.2, "max": 0.8, "std": 0.1}, "intervals": {}}
            result |= {"value": curve[-1]["val_loss"], "best": best, "last": curve[-1], "learning_curve": curve}
            result |= {"epochs_ended": 8, "windows": 600, "train_seconds": 0.8, "policy": {}, "weights": "0" * 64}
            result |= {"memory": {"peak": 3 * 10**8, "micro_batch": 64}, "batching": {"micro_batch": 64}}
            result |= {"started": utc_now(), "ended": utc_now(), "pauses": 0, "paused_seconds": 0.0}
        write_json(attempt.result, result, durable=False)
        return folder

    def poll(self, handles: Sequence[Any]) -> Sequence[AttemptStatus]:
        return [AttemptStatus(state="ended", exit_code=0, peak_memory=3 * 10**8) for _ in handles]

    def stop(self, handle: Any, *, kill: bool) -> None:
        return

    def close(self) -> None:
        return


def run(root: Path, trials: int) -> list[float]:
    """Run the study to so many trials; the CPU time of this process at the start and at each submission."""
    loaded, resolved = load_resolved(
        root / "experiment.yaml", overrides=[f"search.trials={trials}"], registry=load_registry(no_plugins=True)
    )
    times = [time.process_time()]
    record = ExecutorRecord(name="instant", summary="", factory=lambda options, context: Instant(times))
    resolved = evolve(resolved, executor=evolve(resolved.executor, record=record))
    with contextlib.redirect_stdout(io.StringIO()):
        run_study(loaded, resolved, TrainingContext(registry={"no_plugins": True, "block": []}))
    return times


def grow(root: Path, size: int) -> None:
    """Copies of the trials that the study has, until it has `size`."""
    path = root / "studies" / "growth" / "journal.jsonl"
    events = [json.loads(line) for line in path.read_text().splitlines()]
    trials = [[event for event in events if event.get("number") == number] for number in range(FIRST)]
    have = len(read_state(path).trials)
    lines = [json.dumps(event) for event in events]
    for number in range(have, size):
        for event in trials[number % FIRST]:
            copy = {**event, "number": number, "seq": len(lines)}
            if "hash" in copy:
                copy["hash"] = f"{number:064x}"
            if "record" in copy:
                value = copy["record"]["value"] + number * 1e-9
                best = {**copy["record"]["best"], "val_loss": value}
                copy["record"] = {
                    **copy["record"],
                    "number": number,
                    "hash": f"{number:064x}",
                    "value": value,
                    "best": best,
                }
            lines.append(json.dumps(copy))
    path.write_text("\n".join(lines) + "\n")


def measure(root: Path, size: int) -> dict[str, Any]:
    """CPU milliseconds of a trial when the study has about `size` of them, and seconds until the first one starts."""
    grow(root, size)
    run(root, size + 1)  # a study that grew by itself has its files
    times = run(root, size + 2 + AFTER)
    steps = [1e3 * (after - before) for before, after in itertools.pairwise(times[1:])]
    return {
        "trials": size,
        "mean ms": round(statistics.fmean(steps), 2),
        "median ms": round(statistics.median(steps), 2),
        "start s": round(times[1] - times[0], 2),
    }


def main() -> None:
    """Measure each size in one growing study."""
    settings = report.arguments(__doc__).parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder).resolve()
        write_walk(root)
        search = {"use": "random", "trials": FIRST, "space": {"learning_rate": {"log_uniform": [1e-4, 1e-2]}}}
        experiment = {**EXPERIMENT, "name": "growth", "search": search, "output": str(root / "studies" / "growth")}
        experiment["loggers"] = ["console", "files", "csv"]
        (root / "experiment.yaml").write_text(yaml.safe_dump(experiment))
        run(root, FIRST)
        rows = [measure(root, size) for size in (SIZES[:2] if settings.short else SIZES)]
    for row in rows:
        row["times the first"] = round(row["median ms"] / rows[0]["median ms"], 2)
    notes = [
        f"Goal at the last size: {GOAL['milliseconds']:g} ms and {GOAL['ratio']:g} times the first. CPU of the driver.",
        "The start replays the journal, compares the file of every trial and writes every table.",
    ]
    report.show(f"CPU of a trial without its training, {AFTER} trials each", rows, notes=notes, path=settings.json)


if __name__ == "__main__":
    main()
