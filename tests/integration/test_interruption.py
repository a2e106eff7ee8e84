"""Killed at any moment and resumed, a study has every finished trial once and reaches its total."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from .conftest import Study, kill, output_of, tiny_experiment


def results(study: Study) -> list[tuple[Any, ...]]:
    """Identity, architecture, value, weights and training part of each trial, which must not depend on
    interruptions."""
    return [
        (number, r["hash"], r["state"], r["value"], r["versions"]["weights"], r["architecture"]["values"], r["train"])
        for number, r in sorted(study.finished().items())
    ]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, bars: Path) -> list[tuple[Any, ...]]:
    """The results of the uninterrupted study."""
    twin = Study(tmp_path_factory.mktemp("undisturbed"), tiny_experiment(bars))
    longer(twin)
    twin.run()
    return results(twin)


def check_whole(study: Study) -> None:
    """Check the invariants after the last run: total, numbers without gaps, every attempt ended, no process left."""
    total = study.experiment["search"]["trials"]
    assert sorted(study.finished()) == list(range(total))
    asked = [event["number"] for event in study.events() if event["event"] == "asked"]
    assert asked == list(range(total))
    started = [(e["number"], e["index"]) for e in study.events() if e["event"] == "attempt_started"]
    ended = [(e["number"], e["index"]) for e in study.events() if e["event"] == "attempt_ended"]
    assert len(set(started)) == len(started)
    assert sorted(started) == sorted(ended)
    assert study.workers() == []
    study.cli("verify", str(study.folder))


def longer(study: Study) -> None:
    """Lengthen trials, so that a kill interrupts one."""
    study.experiment["search"] |= {"trials": 4}
    study.experiment["training"]["hyperparameters"] = {"epochs": 12, "warmup_steps": 5}


def test_random_kills(study: Study, undisturbed: list[tuple[Any, ...]]) -> None:
    """Driver, fork server and workers are killed at random; the results do not change."""
    longer(study)
    study.experiment["execution"]["retry"] = {"crash": 100}
    generator = random.Random(7)
    kills = {"driver": 0, "server": 0, "worker": 0}
    while sum(kills.values()) < 20:
        process = study.start("-q")
        driver = psutil.Process(process.pid)
        end = time.monotonic() + generator.uniform(2.0, 8.0)
        while process.poll() is None and time.monotonic() < end:
            time.sleep(generator.uniform(0.1, 0.8))
            with suppress(psutil.Error, IndexError):
                family = driver.children(recursive=True)
                if len(family) == 1 and generator.random() < 0.85:
                    continue  # only the fork server runs, importing torch: usually wait until it forks
                victim = generator.choice(family)
                kind = "server" if victim.ppid() == driver.pid else "worker"
                victim.kill()
                kills[kind] += 1
        if process.poll() == 0:
            break
        kills["driver"] += process.poll() is None
        kill(process)
    study.run()
    assert results(study) == undisturbed, kills
    check_whole(study)
    assert sum(kills.values()) >= 5, kills


def test_a_killed_worker_resumes(study: Study, undisturbed: list[tuple[Any, ...]]) -> None:
    """The driver reports it and resumes the trial from its checkpoint, with the same result."""
    longer(study)
    places = {number: f"trial_{number:04d}/attempt_0/epochs.jsonl" for number in (0, 2)}
    for place in places.values():
        study.hold(place, beside=["checkpoint.json"])
    process = study.start()
    for place in places.values():
        os.kill(study.held(place), signal.SIGKILL)
    output = output_of(process)
    assert "killed from outside by SIGKILL; resuming from its last checkpoint" in output
    for number in places:
        attempts = study.finished()[number]["attempts"]
        assert [attempt["class"] for attempt in attempts] == ["killed", "completed"]
        assert attempts[0]["exit_code"] == -9
    assert results(study) == undisturbed
    check_whole(study)


def test_a_killed_smoke_step_is_repeated(study: Study) -> None:
    """A kill is not a fault of the model, so the step is repeated and the study starts."""
    study.experiment["search"]["trials"] = 1
    study.hold("smoke_smallest/result.json")
    process = study.start()
    os.kill(study.held("smoke_smallest/result.json"), signal.SIGKILL)
    output_of(process)
    assert (study.folder / "attempts/smoke_smallest_1/result.json").exists()
    assert sorted(study.finished()) == [0]


def test_a_worker_that_is_always_killed_fails_only_its_trial(study: Study) -> None:
    """After the retries the trial is `failed` with the reason; the next trials run."""
    longer(study)
    study.experiment["execution"]["retry"] = {"crash": 1}
    places = [f"trial_0001/attempt_{index}/epochs.jsonl" for index in (0, 1)]
    for place in places:
        study.hold(place)
    process = study.start()
    for place in places:
        os.kill(study.held(place), signal.SIGKILL)
    output_of(process)
    record = study.finished()[1]
    assert (record["state"], record["value"]) == ("failed", None)
    assert record["reason"] == "the attempt was killed from outside by SIGKILL"
    assert study.json("tiny_all_trials.json")[-1]["number"] == 1, "the tables lack a failed trial (G27)"
    check_whole(study)


@pytest.mark.parametrize("how", ["SIGINT", "SIGTERM", "STOP file", "scalecore stop"])
def test_g42_stopping_ends_the_running_trial_with_a_checkpoint(
    study: Study, undisturbed: list[tuple[Any, ...]], how: str
) -> None:
    """Within one step: checkpoint, exit code 7, message. The same command continues to the uninterrupted result."""
    longer(study)
    study.experiment["training"]["checkpoint_every"] = 3600.0
    attempt = study.folder / "attempts/trial_0001/attempt_0"
    study.hold("trial_0001/attempt_0/epochs.jsonl")
    process = study.start()
    worker = study.held("trial_0001/attempt_0/epochs.jsonl")
    asking = None
    if how == "STOP file":
        (study.folder / "STOP").touch()
    elif how == "scalecore stop":
        asking = subprocess.Popen(study.command("stop", str(study.folder), "--wait"), env=study.environment)
    else:
        process.send_signal(signal.Signals[how])
    study.wait_for((attempt / "control.json").exists, "the driver's stop request")
    os.kill(worker, signal.SIGCONT)
    assert asking is None or asking.wait(timeout=60) == 0
    output = output_of(process, code=7)
    assert "stopped; run the same command again to resume" in output
    assert not (study.folder / "STOP").exists()
    assert 1 not in study.finished()
    assert (attempt / "checkpoint.pt").exists()
    assert study.workers() == []
    study.run()
    resumed = [event for event in study.events() if event["event"] == "attempt_started" and event["number"] == 1]
    assert [event["resumes"] for event in resumed] == [False, True]
    assert results(study) == undisturbed
    check_whole(study)


def test_g42_a_second_signal_ends_at_once_without_loss(study: Study, undisturbed: list[tuple[Any, ...]]) -> None:
    """The second signal kills an attempt that does not respond; the study can be resumed."""
    longer(study)
    study.hold("trial_0001/attempt_0/epochs.jsonl")
    process = study.start()
    study.held("trial_0001/attempt_0/epochs.jsonl")
    process.send_signal(signal.SIGINT)
    study.wait_for((study.folder / "attempts/trial_0001/attempt_0/control.json").exists, "the first stop request")
    time.sleep(0.3)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    output_of(process, code=7)
    assert study.workers() == []
    study.run()
    assert results(study) == undisturbed
    check_whole(study)


def test_no_worker_outlives_its_driver(study: Study) -> None:
    """When the driver is killed, its attempt writes a checkpoint and ends within seconds."""
    longer(study)
    study.experiment["training"]["hyperparameters"]["epochs"] = 500
    process = study.start()
    study.wait_for((study.folder / "attempts/trial_0000/attempt_0/progress.json").exists, "trial 0")
    kill(process)
    study.wait_for(lambda: study.workers() == [], "the worker's end")
    assert (study.folder / "attempts/trial_0000/attempt_0/checkpoint.pt").exists()


def test_g22_a_second_runner_is_refused(study: Study) -> None:
    """The message has the first one's process id; the first one continues."""
    longer(study)
    study.hold("trial_0000/attempt_0/epochs.jsonl")
    process = study.start()
    worker = study.held("trial_0000/attempt_0/epochs.jsonl")
    second = study.run(code=5)
    assert f"this study is already running: process {process.pid} on" in second.stderr
    os.kill(worker, signal.SIGCONT)
    output_of(process)
    check_whole(study)


def test_a_runner_without_its_lock_stops_writing(study: Study) -> None:
    """Without its lock file the runner ends without another line in the journal; the next one completes the study."""
    longer(study)
    study.experiment["training"]["hyperparameters"]["epochs"] = 200
    process = study.start()
    study.wait_for((study.folder / "attempts/trial_0000/attempt_0/progress.json").exists, "trial 0")
    (study.folder / ".lock").unlink()
    lines = len(study.events())
    output = output_of(process, code=6)
    assert "another runner may be writing, so this one ends; everything finished is kept" in output
    assert len(study.events()) == lines
    assert study.workers() == []
    study.experiment["search"]["trials"] = 1
    study.run()
    check_whole(study)


def test_g38_a_time_limit_is_not_a_success(study: Study) -> None:
    """The study ends as `timed_out` with the counts and exit code 8; the same command continues."""
    longer(study)
    study.experiment["execution"]["time_limit"] = 2.0 / 3600
    done = study.run("training.hyperparameters.epochs=200", code=8)
    assert "time limit reached" in done.stdout
    last = study.events()[-1]
    assert (last["event"], last["end"]) == ("run_ended", "timed_out")
    assert last["total"] == 4
    assert sum(last["counts"].values()) < 4


def test_a_torn_journal_line_is_moved_and_reported(study: Study) -> None:
    """An incomplete last line, as after a power cut, does not stop the study."""
    study.run("search.trials=2")
    before = study.finished()
    journal = study.folder / "journal.jsonl"
    journal.write_bytes(journal.read_bytes() + b'{"seq": 99, "event": "trial_fin')
    study.run("search.trials=3")
    after = study.finished()
    assert {number: after[number] for number in before} == before
    assert sorted(after) == [0, 1, 2]
    assert (study.folder / "journal.torn-0.jsonl").read_bytes() == b'{"seq": 99, "event": "trial_fin'
    assert any(event["event"] == "repaired" for event in study.events())
    study.cli("status", str(study.folder))


@pytest.mark.parametrize("last", ["attempt_started", "attempt_ended"])
def test_the_next_run_records_a_result_that_a_killed_driver_did_not(study: Study, last: str) -> None:
    """The journal lacks the record of the last trial, but its result exists: it is used, and not trained again."""
    study.experiment["search"]["trials"] = 2
    study.run()
    before = study.finished()
    journal = study.folder / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    kinds = [(event["event"], event.get("number")) for event in study.events()]
    journal.write_bytes(b"".join(lines[: kinds.index((last, 1)) + 1]))
    assert sorted(study.finished()) == [0]
    study.run()
    after = study.finished()
    assert [after[n]["versions"]["weights"] for n in (0, 1)] == [before[n]["versions"]["weights"] for n in (0, 1)]
    assert after[1]["value"] == before[1]["value"]
    assert [event["event"] for event in study.events()].count("attempt_started") == 2, "the trial was trained again"
    check_whole(study)


def test_the_next_run_classifies_an_end_that_a_killed_driver_did_not(study: Study) -> None:
    """The journal ends after the kernel killed an attempt of the smallest micro-batch: the trial is `out_of_memory`."""
    study.experiment["search"]["trials"] = 2
    study.experiment["training"]["activation_checkpointing"] = "off"
    study.run()
    events = study.events()
    kinds = [(event["event"], event.get("number")) for event in events]
    kept = events[: kinds.index(("attempt_ended", 1)) + 1]
    kept[kinds.index(("attempt_started", 1))]["micro_batch"] = 1
    reason = "the kernel killed the attempt because memory ran out"
    kept[-1] |= {"class": "out_of_memory", "reason": reason, "memory": None, "peak_memory": 5_000_000_000}
    journal = study.folder / "journal.jsonl"
    journal.write_text("".join(json.dumps(event) + "\n" for event in kept))
    (study.folder / "attempts/trial_0001/attempt_0/result.json").unlink()
    study.run()
    record = study.finished()[1]
    assert (record["state"], record["reason"], record["value"]) == ("out_of_memory", reason, None)
    assert record["memory"]["measured"] == 5_000_000_000
    check_whole(study)


def test_g44_the_next_run_deletes_checkpoints_that_a_killed_driver_did_not(study: Study) -> None:
    """`verify` finds the checkpoints of a finished trial, and the next run deletes them."""
    study.experiment["training"]["keep_weights"] = 1
    study.run("search.trials=2")
    left = [study.folder / f"attempts/trial_000{n}/attempt_0/{name}" for n in (0, 1) for name in LEFT]
    for path in left:
        path.write_bytes(b"of a trial that has ended")
    found = study.cli("verify", str(study.folder), code=9)
    assert "trial 0 is finished and still has checkpoints (1)" in found.stdout
    study.run("search.trials=2")
    assert [path for path in left if path.exists()] == []
    assert len(list((study.folder / "weights").iterdir())) == 1
    study.cli("verify", str(study.folder))


LEFT = ("checkpoint.pt", "checkpoint.json", "best_1.safetensors")


def test_derived_files_are_rebuilt(study: Study) -> None:
    """The next run rebuilds deleted and torn files from the journal."""
    study.run("search.trials=3")
    names = ["tiny_4000_best.json", "tiny_all_trials.json", "tiny_study_summary.md", "trials/trial_0001.json"]
    before = {name: (study.folder / name).read_bytes() for name in names}
    (study.folder / names[0]).unlink()
    (study.folder / names[1]).write_text("{")
    (study.folder / names[3]).unlink()
    study.run("search.trials=3")
    assert {name: (study.folder / name).read_bytes() for name in names} == before
