"""Full disks, read-only folders, damaged checkpoints, clock changes: the run ends clearly and loses nothing."""

from __future__ import annotations

import os
import resource
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from .conftest import Study, kill, output_of, tiny_experiment
from .test_interruption import check_whole, longer, results


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, bars: Path) -> list[tuple[Any, ...]]:
    """The results of the study without faults."""
    twin = Study(tmp_path_factory.mktemp("undisturbed"), tiny_experiment(bars))
    longer(twin)
    twin.experiment["search"]["trials"] = 2
    twin.run()
    return results(twin)


def two_trials(study: Study) -> None:
    longer(study)
    study.experiment["search"]["trials"] = 2


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[None]:
    """A small separate file system; skipped if this user may not mount one."""
    folder.mkdir(parents=True)
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True, check=False
    )
    if done.returncode != 0:
        pytest.skip("mounting a small file system needs root")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False)


def verified(study: Study) -> str:
    return study.cli("verify", str(study.folder)).stdout


@pytest.mark.parametrize("how", ["limited file size", "small tmpfs"])
def test_a_full_disk_ends_the_run_which_resumes_with_free_space(
    study: Study, undisturbed: list[tuple[Any, ...]], how: str
) -> None:
    """Exit code 6 with instructions, without a traceback; finished trials are kept; the same command completes it."""
    two_trials(study)
    small, limit = how == "small tmpfs", 27_000
    # Works for every user: no file may grow beyond a limit.
    before = None if small else lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    with mounted(study.folder.parent, "size=240k") if small else nullcontext():
        process = study.start(before=before)
        output = output_of(process, code=6)
        assert "Traceback" not in output
        assert f"{study.folder}: cannot be written (" in output
        assert (
            "everything finished is kept: repair the disk or free space, then `scalecore run` resumes the study"
            in output
        )
        assert study.workers() == []
        verified(study)
        if small:
            subprocess.run(["mount", "-o", "remount,size=50m", str(study.folder.parent)], check=True)
        kept = results(study)
        study.run()
        assert results(study)[: len(kept)] == kept
        assert results(study) == undisturbed
        check_whole(study)


@pytest.mark.parametrize(
    "moment", ["smoke_smallest/spec.json", *(f"trial_0001/attempt_0/{name}" for name in ("spec.json", "epochs.jsonl"))]
)
def test_g48_a_disk_that_fills_up_during_a_run_fails_no_trial(
    study: Study, undisturbed: list[tuple[Any, ...]], moment: str
) -> None:
    """Full at the first write of an attempt, or when it stores weights: exit code 6, and the study can be resumed."""
    two_trials(study)
    place = study.folder.parent
    with mounted(place, "size=20m"):
        study.hold(moment)
        process = study.start()
        held = study.held(moment)
        with suppress(OSError), (place / "filler").open("wb", buffering=0) as stream:
            while True:
                stream.write(bytes(4096))
        os.kill(held, signal.SIGCONT)
        output = output_of(process, code=6)
        assert "Traceback" not in output
        assert f"{study.folder}: cannot be written (" in output
        assert {one["class"] for one in study.events() if one["event"] == "attempt_ended"} <= {
            "completed",
            "interrupted",
        }
        (place / "filler").unlink()
        study.run()
        assert results(study) == undisturbed
        check_whole(study)


def test_g48_a_disk_that_is_full_repeatedly_loses_no_trial(study: Study, undisturbed: list[tuple[Any, ...]]) -> None:
    """Some space is freed after each run: each one ends with 6, keeps finished trials, and removes useless attempts."""
    two_trials(study)
    place, size = study.folder.parent, 180
    with mounted(place, f"size={size}k"):
        kept: list[tuple[Any, ...]] = []
        while (done := study.run(code=None)).returncode != 0:
            assert done.returncode == 6, done.stdout + done.stderr
            assert "Traceback" not in done.stdout + done.stderr
            assert study.workers() == []
            verified(study)
            assert results(study)[: len(kept)] == kept
            kept = results(study)
            classes = {one["class"] for one in study.events() if one["event"] == "attempt_ended"}
            assert classes <= {"completed", "interrupted"}
            weights = [path.parent.name for path in study.folder.glob("attempts/trial_0001/*/best_*")]
            assert len(set(weights)) <= 1, "attempts without a checkpoint were not removed"
            size += 40
            assert size < 1000, "the study never completes; free more space"
            subprocess.run(["mount", "-o", f"remount,size={size}k", str(place)], check=True)
        assert size > 180, "the disk was never full: make it smaller"
        assert results(study) == undisturbed
        assert not list(place.rglob("*.tmp"))
        lines = [line.split() for line in verified(study).splitlines() if line.startswith("  ")]
        assert {line[0] for line in lines} == {"ok"}
        check_whole(study)


def test_g48_the_next_run_writes_a_table_that_did_not_fit_on_the_disk(study: Study) -> None:
    """All trials are finished and journalled, but the exit code is 6 until the table is written."""
    place = study.root / "tables"
    study.experiment["search"]["trials"] = 1
    study.experiment["loggers"] = ["console", "files", {"use": "csv", "path": str(place / "results.csv")}]
    with mounted(place, "size=8k"):
        (place / "filler").write_bytes(bytes(8192))
        done = study.run(code=6)
        end = "every trial is in the journal: free disk space, then `scalecore run` writes the missing files\n"
        assert done.stderr.startswith("logger 'csv' cannot write ([Errno 28] No space left on device")
        assert done.stderr.endswith(end)
        assert sorted(study.finished()) == [0]
        assert "note   logger csv: " in verified(study)
        (place / "filler").unlink()
        study.run()
        assert "ok     logger csv: matches the journal" in verified(study)


def test_a_read_only_folder_is_refused(study: Study) -> None:
    """`plan` and `run` refuse it before training; root is tested on a read-only file system."""
    place = study.root / "sealed"
    study.experiment["output"] = str(place / "tiny")
    if os.geteuid() != 0:
        place.mkdir(mode=0o555)
    with mounted(place, "size=1m,ro") if os.geteuid() == 0 else nullcontext():
        study.write()
        planned = study.cli("plan", str(study.file), code=5)
        why = "is on a read-only file system" if os.geteuid() == 0 else "is not writable"
        assert f"  refuse output: {place} {why}" in planned.stdout
        done = study.run(code=5)
        assert f"{place / 'tiny'}: the study's folder cannot be written: " in done.stderr
        assert "Traceback" not in done.stderr


def test_a_truncated_checkpoint_is_skipped(study: Study, undisturbed: list[tuple[Any, ...]]) -> None:
    """The previous one is used, or the trial restarts; the record reports it, and the result is bit-identical."""
    two_trials(study)
    study.hold("trial_0001/attempt_0/epochs.jsonl", beside=["checkpoint.json"])
    process = study.start()
    attempt = study.folder / "attempts/trial_0001/attempt_0"
    newest, previous = attempt / "checkpoint.pt", attempt / "checkpoint.previous.pt"
    worker = study.held("trial_0001/attempt_0/epochs.jsonl")
    kill(process)
    os.kill(worker, signal.SIGKILL)
    size = newest.stat().st_size
    with newest.open("r+b") as stream:
        stream.truncate(size // 2)
    had_previous = previous.exists()
    study.run()
    assert results(study) == undisturbed
    record = study.finished()[1]
    passed = f"checkpoint skipped: attempt_0/checkpoint.pt: {size // 2} bytes instead of {size}"
    assert passed in [flag["text"] for flag in record["flags"]]
    assert record["resumptions"] == 1 or not had_previous
    check_whole(study)


SHIFT = """
import datetime, time
import scalecore.api.files
steady, wall, began = time.monotonic, time.time, time.monotonic()
time.time = lambda: wall() - 86400 - 3600 * int(steady() - began)
class Shifted(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls.fromtimestamp(time.time(), tz)
scalecore.api.files.datetime = Shifted
"""


def test_a_clock_that_is_set_back_changes_nothing(study: Study, undisturbed: list[tuple[Any, ...]]) -> None:
    """A run with a clock one day earlier continues the study; durations do not depend on the wall clock."""
    two_trials(study)
    study.run("search.trials=1")
    hook = study.root / "clock"
    hook.mkdir()
    # Loaded by every interpreter of the study: its clock is a day behind and loses another hour every second.
    (hook / "sitecustomize.py").write_text(SHIFT)
    study.path.append(str(hook))
    study.run()
    events = study.events()
    assert events[-1]["time"] < events[0]["time"], "the clock was not set back"
    assert results(study) == undisturbed
    assert all(0 < record["duration"] < 200 for record in study.finished().values())
    check_whole(study)


def test_g47_a_frozen_machine_loses_nothing(study: Study, undisturbed: list[tuple[Any, ...]]) -> None:
    """Driver, fork server and attempt stop for twice `hang_after`, as in a paused container; nothing is killed."""
    two_trials(study)
    study.experiment["execution"]["hang_after"] = 8.0
    place = "trial_0000/attempt_0/epochs.jsonl"
    study.hold(place)
    process = study.start()
    os.kill(study.held(place), signal.SIGCONT)
    driver = psutil.Process(process.pid)
    family = [driver, *driver.children(recursive=True)]
    for member in family:
        member.suspend()
    time.sleep(16.0)
    for member in family:
        member.resume()
    output_of(process)
    assert results(study) == undisturbed
    assert {event["class"] for event in study.events() if event["event"] == "attempt_ended"} == {"completed"}
    check_whole(study)


@pytest.mark.parametrize("how", ["SIGSTOP", "freezer"])
def test_g47_a_frozen_attempt_loses_nothing_while_its_driver_runs(
    study: Study, undisturbed: list[tuple[Any, ...]], how: str
) -> None:
    """Frozen for twice `hang_after`, the attempt could not run, so it does not count as hung."""
    two_trials(study)
    study.experiment["execution"]["hang_after"] = 3.0
    place = "trial_0000/attempt_0/epochs.jsonl"
    study.hold(place)
    process = study.start()
    worker = study.held(place)
    box = Path("/sys/fs/cgroup/freezer/scalecore-test")
    if how == "freezer":
        try:
            box.mkdir()
            (box / "cgroup.procs").write_text(str(worker))
            (box / "freezer.state").write_text("FROZEN")
        except OSError:
            os.kill(worker, signal.SIGCONT)
            process.communicate(timeout=240)
            pytest.skip("a control group that freezes needs root and the freezer of version 1")
        os.kill(worker, signal.SIGCONT)
    time.sleep(6.5)
    if how == "freezer":
        (box / "freezer.state").write_text("THAWED")
    else:
        os.kill(worker, signal.SIGCONT)
    output, _ = process.communicate(timeout=240)
    if how == "freezer":
        box.rmdir()
    assert process.returncode == 0, output
    assert results(study) == undisturbed
    assert {event["class"] for event in study.events() if event["event"] == "attempt_ended"} == {"completed"}
    check_whole(study)


def ext4(study: Study) -> None:
    """A file system in a file, which can fail as a disk does; skipped without root."""
    image, place = study.root / "disk", study.folder.parent
    with image.open("wb") as stream:
        stream.truncate(32 << 20)
    place.mkdir(parents=True)
    for command in (["mkfs.ext4", "-q", str(image)], ["mount", "-o", "loop", str(image), str(place)]):
        if shutil.which(command[0]) is None or subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("mounting a file system in a file needs root and a loop device")
    (place / "lost+found").rmdir()


def test_a_disk_that_becomes_read_only_ends_the_run(study: Study, undisturbed: list[tuple[Any, ...]]) -> None:
    """Exit code 6 with the reason; once the disk is repaired the study can be resumed."""
    two_trials(study)
    ext4(study)
    place = study.folder.parent
    moment = "trial_0001/attempt_0/epochs.jsonl"
    try:
        study.hold(moment)
        process = study.start()
        held = study.held(moment)
        subprocess.run(["mount", "-o", "remount,abort", str(place)], check=False, capture_output=True)
        os.kill(held, signal.SIGCONT)
        output = output_of(process, code=6)
        assert "Traceback" not in output
        assert f"{study.folder}: cannot be written (" in output
        subprocess.run(["umount", str(place)], check=True)
        subprocess.run(["fsck.ext4", "-y", str(study.root / "disk")], check=False, capture_output=True)
        subprocess.run(["mount", "-o", "loop", str(study.root / "disk"), str(place)], check=True)
        study.run()
        assert results(study) == undisturbed
    finally:
        subprocess.run(["umount", "-l", str(place)], check=False)


def test_a_study_runs_with_closed_standard_streams(study: Study) -> None:
    """Some service managers start it so; its output must not end up in its files."""
    study.experiment["search"]["trials"] = 1
    study.write()
    command = shlex.join(study.command("run", str(study.file)))
    done = subprocess.run(
        ["bash", "-c", f"{command} <&- >&- 2>&-"], cwd=study.root, env=study.environment, timeout=240, check=False
    )
    assert done.returncode == 0
    assert sorted(study.finished()) == [0]
    check_whole(study)


def test_sighup_stops_the_study_except_under_nohup(study: Study, undisturbed: list[tuple[Any, ...]]) -> None:
    """SIGHUP stops the run with a checkpoint and exit code 7; if SIGHUP is ignored, the run continues."""
    two_trials(study)
    moment = "trial_0000/attempt_0/epochs.jsonl"
    study.hold(moment)
    # Tests that run under nohup would pass it on.
    process = study.start(before=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL))
    held = study.held(moment)
    process.send_signal(signal.SIGHUP)
    os.kill(held, signal.SIGCONT)
    output = output_of(process, code=7)
    assert "stopped by SIGHUP: writing checkpoints of running trials" in output
    process = study.start(before=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    study.wait_for(lambda: bool(study.workers()), "an attempt")
    process.send_signal(signal.SIGHUP)
    output = output_of(process)
    assert results(study) == undisturbed


@pytest.mark.parametrize(
    ("number", "moment", "beside", "code", "trials"),
    [
        (signal.SIGINT, "data.partial/data.json", [], 7, None),
        (signal.SIGHUP, "tiny/lease.json", [], 7, None),
        (signal.SIGTERM, "smoke_smallest/result.json", [], 7, 0),
        (signal.SIGHUP, "tiny_study_summary.md", ["trials/trial_0000.json"], 0, 1),
    ],
    ids=["before the data", "before the plan", "smoke step", "finale"],
)
def test_a_stop_request_works_at_any_time(
    study: Study, number: signal.Signals, moment: str, beside: list[str], code: int, trials: int | None
) -> None:
    """Exit code 7 without a traceback, also before the study begins; a complete study stays complete."""
    study.experiment["search"]["trials"] = 1
    study.hold(moment, beside=beside)
    process = study.start(before=lambda: signal.signal(number, signal.SIG_DFL))  # a job in the background ignores some
    held = study.held(moment)
    process.send_signal(number)
    os.kill(held, signal.SIGCONT)
    output = output_of(process, code=code)
    assert "Traceback" not in output
    if code == 7:
        assert f"stopped by {number.name}" in output
    assert len(study.finished()) == (trials or 0)
    assert not (study.folder / "lease.json").exists()
    assert study.workers() == []
    study.run()
    check_whole(study)


def test_symbolic_links_in_place_of_scalecore_files_are_refused(study: Study) -> None:
    """A symbolic link as lock or attempt folder: one message, and its target is not changed."""
    study.experiment["search"]["trials"] = 1
    elsewhere = study.root / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "kept").touch()
    study.folder.mkdir(parents=True)
    lock = study.folder / ".lock"
    lock.symlink_to(elsewhere / "lock")
    done = study.run(code=5)
    assert done.stderr == f"{lock} is a symbolic link and would lock another file; remove it\n"
    lock.unlink()
    trial = study.folder / "attempts/trial_0000"
    trial.mkdir(parents=True)
    (study.folder / "attempts/trial_0000/attempt_0").symlink_to(elsewhere)
    (study.folder / "journal.jsonl").touch()
    done = study.run(code=5)
    assert f"{trial / 'attempt_0'} is a link or a file, not a folder created by scalecore; remove it\n" in done.stderr
    assert [path.name for path in elsewhere.iterdir()] == ["kept"]


@pytest.mark.parametrize(
    ("output", "why"),
    [
        ("a" * 256, "a name in this path has 256 bytes, but at most 255 are allowed; use a shorter one"),
        ("/a" * 2000, "this path has 4,000 bytes, but at most 3,800 are allowed; use a shorter one"),
    ],
)
def test_a_too_long_output_path_is_refused(study: Study, output: str, why: str) -> None:
    """Every command reports its position in the file."""
    study.experiment["output"] = output
    study.write()
    for command in ("check", "plan", "run"):
        done = study.cli(command, str(study.file), code=2)
        assert done.stderr == f"{study.file}:56:9: output: {why}\n"
