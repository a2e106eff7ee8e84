"""Kills driver, fork server and attempts of a tiny study at random moments, in many rounds.

    tox run -e faults        # a hundred rounds; SCALECORE_KILL_ROUNDS and SCALECORE_KILL_SEED change number and seed

A round starts the study, kills a process after a random time and verifies the study. When the study completes, its
results are compared with those of an uninterrupted run, and another study begins. A failure prints the seed.
"""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from .conftest import Study, kill, tiny_experiment

ROUNDS = int(os.environ.get("SCALECORE_KILL_ROUNDS", "4"))
SEED = int(os.environ.get("SCALECORE_KILL_SEED", "20"))
TRIALS = 3
VICTIMS = ("attempt", "driver", "server", "driver")


def tiny(root: Path, bars: Path) -> Study:
    experiment = tiny_experiment(bars)
    experiment["search"] |= {"trials": TRIALS}
    experiment["training"]["hyperparameters"] = {"epochs": 8, "warmup_steps": 5}
    experiment["execution"]["retry"] = {"crash": 100}
    root.mkdir()
    return Study(root, experiment)


def results(records: Mapping[int, Mapping[str, Any]]) -> list[tuple[Any, ...]]:
    """The results, which must not depend on interruptions."""
    return [(n, r["hash"], r["state"], r["value"], r["versions"]["weights"]) for n, r in sorted(records.items())]


def disturb(study: Study, generator: random.Random, *, what: str) -> str:
    """Start the study, wait, kill a process of it and return its name, or `completed`."""
    process = study.start("-q")
    driver = psutil.Process(process.pid)
    time.sleep(generator.uniform(0.2, 6.0))
    with suppress(psutil.Error, IndexError):
        family = {
            "server": driver.children(),
            "attempt": [each for each in driver.children(recursive=True) if each.ppid() != driver.pid],
            "driver": [driver],
        }
        generator.choice(family[what]).kill()
    if what != "driver":
        time.sleep(generator.uniform(0.0, 2.0))
    if process.poll() is not None and process.returncode == 0:
        process.communicate()
        return "completed"
    kill(process)
    return what


def check(study: Study, kept: Mapping[int, Any]) -> dict[int, Any]:
    """Check finished trials, processes and journal; return the finished trials."""
    now = study.finished()
    assert {number: now[number] for number in kept} == kept, "a finished trial was lost or changed"
    if study.events():
        study.wait_for(lambda: study.workers() == [], "the end of orphans")
        study.cli("verify", str(study.folder), "--json")
    return now


def test_kill_rounds(tmp_path: Path, bars: Path) -> None:
    """Each round keeps finished trials; the final results are bit-identical to those without kills."""
    twin = tiny(tmp_path / "undisturbed", bars)
    twin.run("-q")
    expected = results(twin.finished())
    generator = random.Random(SEED)
    happened: Counter[str] = Counter()
    completed = 0
    study, kept = tiny(tmp_path / "0", bars), dict[int, Any]()
    for number in range(ROUNDS):
        what = disturb(study, generator, what=VICTIMS[number % len(VICTIMS)])
        happened[what] += 1
        print(f"round {number}: {what}", flush=True)
        try:
            kept = check(study, kept)
            if len(kept) < TRIALS and number < ROUNDS - 1:
                continue
            study.run("-q")
            assert results(check(study, kept)) == expected
        except AssertionError as error:
            raise AssertionError(f"round {number} of seed {SEED}, after {dict(happened)}: {error}") from error
        completed += 1
        study, kept = tiny(tmp_path / str(completed), bars), {}
    assert completed >= 1
    assert sum(happened.values()) == ROUNDS
    print(f"{ROUNDS} rounds: {dict(happened)}; {completed} studies completed as if nothing had happened")
