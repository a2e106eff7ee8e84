"""The local executor: how attempts end, on their own and by force, without leaving anything behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from scalecore.api.executor import AttemptStatus
from scalecore.api.files import read_json
from scalecore.execution.attempt_control import AttemptMonitor
from scalecore.execution.attempt_result import Resumption
from scalecore.execution.folder import DISK_EXIT, LOG_BYTES, AttemptFolder
from scalecore.execution.local.executor import LocalExecutor, LocalHandle
from scalecore.execution.local.options import LocalOptions
from scalecore_torch.training import checkpoint

from .conftest import ENDLESS, fork_server, gone, pid_of, result_of, wait_for

Attempt = Callable[..., AttemptFolder]


def until_over(executor: LocalExecutor, handle: LocalHandle) -> AttemptStatus:
    wait_for(lambda: executor.poll([handle])[0].state != "running", "the attempt's end")
    return executor.poll([handle])[0]


def place(folder: AttemptFolder) -> tuple[int, int]:
    """The epoch and step that the attempt reported last."""
    seen = folder.read_progress()
    return (0, 0) if seen is None else (seen.epoch, seen.step)


def phase(folder: AttemptFolder) -> str | None:
    seen = folder.read_progress()
    return None if seen is None else seen.phase


def in_training(folder: AttemptFolder, *, beyond: tuple[int, int] = (1, 0)) -> None:
    """Wait until the attempt has taken steps."""
    wait_for(lambda: phase(folder) in ("train", "evaluate") and place(folder) > beyond, "training")


def test_an_attempt_completes_with_its_result(executor: LocalExecutor, attempt: Attempt) -> None:
    """Exit code 0, a result with its own id, one line per epoch, and a measured memory peak."""
    folder = attempt("a")
    handle = executor.submit(folder.path)
    assert executor.poll([handle])[0].state == "running"
    status = until_over(executor, handle)
    result = result_of(folder)
    assert (status.state, status.exit_code, result.state, result.reason) == ("ended", 0, "completed", None)
    assert status.pid == pid_of(folder)
    assert [line["epoch"] for line in folder.read_epochs(after=0)] == [1, 2]
    assert result.value == min(line["val_loss"] or 0 for line in result.learning_curve or ())
    assert result.peak_memory is not None
    assert result.peak_memory > 50e6
    assert status.peak_memory is None or result.peak_memory <= status.peak_memory * 1.01
    assert gone(pid_of(folder))


def test_the_memory_of_the_driver_is_not_counted_as_that_of_an_attempt(attempt: Attempt) -> None:
    """Linux passes the largest size of a process to the processes that it spawns."""
    driver = b"\1" * (1 << 30)
    del driver
    executor = LocalExecutor(LocalOptions(start="spawn"), worker="scalecore_torch.worker")
    folder = attempt("a", epochs=1)
    status = until_over(executor, executor.submit(folder.path))
    executor.close()
    result = result_of(folder)
    assert result.memory is not None
    assert max(result.peak_memory or 0, result.memory.peak or 0) < 1 << 30
    assert status.peak_memory is None


def test_an_attempt_has_the_threads_of_its_spec(executor: LocalExecutor, attempt: Attempt) -> None:
    """Not those of the machine: its share within an operation, and one for parallel operations."""
    folder = attempt("a", epochs=1, threads=2, precision="bf16", compile="auto")
    until_over(executor, executor.submit(folder.path))
    result = result_of(folder)
    assert (result.threads, result.interop_threads) == (2, 1)
    assert result.policy is not None
    assert result.policy.precision == "bf16"
    assert (result.policy.why or {})["compile"] == (
        "auto: the model declares no blocks (repeated_blocks or compile_blocks)"
    )


def test_both_ways_of_starting_compute_the_same(attempt: Attempt, forking: LocalExecutor) -> None:
    """A fork of the warm server and a new interpreter end with bit-identical weights."""
    one, other = attempt("forked"), attempt("spawned")
    until_over(forking, forking.submit(one.path))
    subprocess.run([sys.executable, "-m", "scalecore_torch.worker", str(other.path), str(os.getpid())], check=True)
    weights = [result_of(folder).weights for folder in (one, other)]
    assert weights[0] == weights[1]


def test_an_attempt_is_a_session_of_its_own(executor: LocalExecutor, attempt: Attempt) -> None:
    """Ctrl-C in the terminal reaches only the driver."""
    folder = attempt("a", epochs=ENDLESS)
    executor.submit(folder.path)
    pid = pid_of(folder)
    assert os.getsid(pid) == os.getpgid(pid) == pid != os.getsid(0)


def test_a_killed_attempt_is_reported_with_its_signal(executor: LocalExecutor, attempt: Attempt) -> None:
    """Exit code -9 and no result."""
    folder = attempt("a", epochs=ENDLESS)
    handle = executor.submit(folder.path)
    in_training(folder)
    os.kill(pid_of(folder), signal.SIGKILL)
    status = until_over(executor, handle)
    assert (status.state, status.exit_code) == ("ended", -9)
    assert folder.read_result("0-0") is None


def test_stopping_by_force_ends_the_attempt_at_once(executor: LocalExecutor, attempt: Attempt) -> None:
    """When `stop` returns, the process is ended and reaped; a second call changes nothing."""
    folder = attempt("a", epochs=ENDLESS)
    handle = executor.submit(folder.path)
    in_training(folder)
    executor.stop(handle, kill=True)
    assert not psutil.pid_exists(pid_of(folder))
    status = executor.poll([handle])[0]
    assert (status.state, status.exit_code) == ("ended", -9)
    executor.stop(handle, kill=True)
    assert executor.poll([handle])[0] == status


def test_an_attempt_can_be_killed_right_after_it_was_submitted(executor: LocalExecutor, attempt: Attempt) -> None:
    """Even before its process id is known."""
    folder = attempt("a", epochs=ENDLESS)
    handle = executor.submit(folder.path)
    executor.stop(handle, kill=True)
    assert executor.poll([handle])[0].state == "ended"
    assert executor.poll([handle])[0].exit_code == -9


def test_closing_leaves_nothing_behind(executor: LocalExecutor, attempt: Attempt) -> None:
    """Attempts and the fork server are gone when `close` returns."""
    folders = [attempt("a", epochs=ENDLESS), attempt("b", epochs=ENDLESS)]
    for folder in folders:
        executor.submit(folder.path)
    for folder in folders:
        in_training(folder)
    executor.close()
    assert not [psutil.pid_exists(pid) for pid in map(pid_of, folders) if psutil.pid_exists(pid)]
    assert not [child for child in psutil.Process().children() if "scalecore.execution" in " ".join(child.cmdline())]


def test_stopping_gently_leaves_a_checkpoint_to_go_on_from(executor: LocalExecutor, attempt: Attempt) -> None:
    """The state is stopped; an attempt that resumes ends with the weights of an uninterrupted one."""
    epochs = 300
    undisturbed = attempt("undisturbed", epochs=epochs)
    until_over(executor, executor.submit(undisturbed.path))
    first = attempt("first", epochs=epochs)
    handle = executor.submit(first.path)
    wait_for(first.epochs.exists, "the start")
    executor.stop(handle, kill=False)
    assert until_over(executor, handle).exit_code == 0
    stopped = result_of(first)
    assert stopped.state == "stopped"
    assert 0 <= stopped.epochs_ended < epochs
    assert checkpoint.load_newest([first.path]) is not None

    second = attempt("second", epochs=epochs, attempt="0-1", resume_from=[str(first.path)])
    until_over(executor, executor.submit(second.path))
    result, expected = result_of(second, "0-1"), result_of(undisturbed)
    assert result.resumed_from == Resumption(checkpoint="first/checkpoint.pt", step=stopped.steps or 0)
    assert (stopped.steps_here or 0) + (result.steps_here or 0) == expected.steps
    assert result.weights == expected.weights


def test_sigterm_is_a_gentle_stop(executor: LocalExecutor, attempt: Attempt) -> None:
    """The signal that batch systems send before a kill leads to a checkpoint."""
    folder = attempt("a", epochs=ENDLESS)
    handle = executor.submit(folder.path)
    in_training(folder)
    os.kill(pid_of(folder), signal.SIGTERM)
    assert until_over(executor, handle).exit_code == 0
    assert result_of(folder).state == "stopped"
    assert (folder.path / "checkpoint.pt").exists()


def test_pause_and_go_on(executor: LocalExecutor, attempt: Attempt) -> None:
    """A paused attempt reports it, takes no step, then continues; pauses are counted, and a paused attempt can be
    stopped.
    """
    folder = attempt("a", epochs=ENDLESS)
    handle = executor.submit(folder.path)
    in_training(folder)

    folder.tell("pause")
    wait_for(lambda: phase(folder) == "paused", "the pause")
    held, written = place(folder), folder.progress.stat().st_mtime_ns
    wait_for(lambda: folder.progress.stat().st_mtime_ns > written, "a sign of life while paused")
    assert place(folder) == held
    folder.tell("go_on")
    in_training(folder, beyond=held)
    folder.tell("pause")
    wait_for(lambda: phase(folder) == "paused", "the second pause")
    executor.stop(handle, kill=False)
    until_over(executor, handle)
    result = result_of(folder)
    assert (result.state, result.pauses) == ("stopped", 2)
    assert (result.paused_seconds or 0) > 0


def test_pruning_ends_without_a_checkpoint(executor: LocalExecutor, attempt: Attempt) -> None:
    """A pruned trial is over: it has its value so far and no checkpoint."""
    folder = attempt("a", epochs=ENDLESS)
    handle = executor.submit(folder.path)
    wait_for(lambda: bool(folder.read_epochs(after=0)), "an epoch")
    folder.tell("prune")
    until_over(executor, handle)
    result = result_of(folder)
    assert result.state == "pruned"
    assert result.value == min(line["val_loss"] for line in folder.read_epochs(after=0))
    assert not (folder.path / "checkpoint.pt").exists()


MODEL = """
from scalecore import hookimpl
from scalecore_torch.linear import LinearFamily
from scalecore.api.components import ModelRecord

class Family(LinearFamily):
    def build(self, architecture, hyperparameters, data):
        {body}
        return super().build(architecture, hyperparameters, data)

@hookimpl
def scalecore_models():
    return [ModelRecord(name="odd", summary="A model of a test.", factory=lambda options: Family())]
"""


def odd(attempt: Attempt, fake_plugin: Any, monkeypatch: Any, *, body: str, **changes: Any) -> AttemptFolder:
    """An attempt whose model comes from another distribution and runs `body` when it is built. Call it before the
    executor is created, which copies the environment.
    """
    place = fake_plugin("scalecore-odd", code=MODEL.format(body=body))
    monkeypatch.setenv("PYTHONPATH", str(place), prepend=os.pathsep)
    return attempt("odd", model={"use": "odd", "options": {}}, registry={"no_plugins": False, "block": []}, **changes)


def with_odd_model(
    start: str, attempt: Attempt, fake_plugin: Any, monkeypatch: Any, *, body: str, **changes: Any
) -> tuple[AttemptFolder, LocalExecutor]:
    folder = odd(attempt, fake_plugin, monkeypatch, body=body, **changes)
    return folder, LocalExecutor(LocalOptions(start=start), worker="scalecore_torch.worker")  # type: ignore[arg-type]


def test_nothing_of_an_attempts_group_is_left(start: str, attempt: Attempt, fake_plugin: Any, monkeypatch: Any) -> None:
    """A process that the model started ends with its attempt, after a kill from outside and after a stop by force."""
    body = "import subprocess; self.child = subprocess.Popen(['sleep', '600'])"
    folder, executor = with_odd_model(start, attempt, fake_plugin, monkeypatch, body=body, epochs=ENDLESS)
    for end in ("killed", "stopped"):
        folder.process.unlink(missing_ok=True)
        folder.progress.unlink(missing_ok=True)
        handle = executor.submit(folder.path)
        in_training(folder)
        worker = psutil.Process(pid_of(folder))
        (grandchild,) = worker.children()
        if end == "killed":
            worker.kill()
            until_over(executor, handle)
        else:
            executor.stop(handle, kill=True)
        wait_for(lambda pid=grandchild.pid: gone(pid), "the end of the grandchild")  # type: ignore[misc]
    executor.close()


def test_a_model_that_raises_fails_with_its_reason_and_its_traceback(
    start: str, attempt: Attempt, fake_plugin: Any, monkeypatch: Any
) -> None:
    """Exit code 0, since the result has the reason, and no value; the log has the traceback and the model's output,
    whatever the encoding of the terminal.
    """
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    folder, executor = with_odd_model(
        start, attempt, fake_plugin, monkeypatch, body="print('h\u00e9r\u00e9'); raise ValueError('no such shape')"
    )
    assert until_over(executor, executor.submit(folder.path)).exit_code == 0
    result = result_of(folder)
    assert (result.state, result.reason) == ("failed", "ValueError: no such shape")
    assert "value" not in result.plain()
    assert folder.log_tail().startswith("h\u00e9r\u00e9\n")
    assert folder.log_tail().endswith("ValueError: no such shape")
    executor.close()


def test_a_model_that_ends_its_process_leaves_no_result(
    start: str, attempt: Attempt, fake_plugin: Any, monkeypatch: Any
) -> None:
    """Only the exit code is known."""
    folder, executor = with_odd_model(start, attempt, fake_plugin, monkeypatch, body="import os; os._exit(3)")
    status = until_over(executor, executor.submit(folder.path))
    assert (status.state, status.exit_code) == ("ended", 3)
    assert folder.read_result("0-0") is None
    executor.close()


def no_more_room(folder: AttemptFolder, *, inodes: int) -> None:
    """A separate full file system for the attempt's folder; skipped without root."""
    content = folder.spec.read_text()
    options = f"size=256k,nr_inodes={inodes}"
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder.path)], check=False)
    if done.returncode != 0:
        pytest.skip("mounting a small file system needs root")
    folder.spec.write_text(content)
    with suppress(OSError), (folder.path / "filler").open("wb", buffering=0) as stream:
        while True:
            stream.write(bytes(4096))


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[None]:
    """Unmount everything below the test's folder afterwards."""
    yield
    for place in tmp_path.iterdir():
        if place.is_mount():
            subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.mark.usefixtures("mounted")
def test_g48_an_attempt_whose_first_write_finds_no_room_says_so(executor: LocalExecutor, attempt: Attempt) -> None:
    """Its exit code means a full disk: the trial is not to blame."""
    folder = attempt("a")
    no_more_room(folder, inodes=100)
    status = until_over(executor, executor.submit(folder.path))
    assert (status.state, status.exit_code) == ("ended", DISK_EXIT)
    with pytest.raises(OSError, match=r"^\[Errno 5\] the attempt could not write to its folder$"):
        folder.raise_disk_error(status)


@pytest.mark.usefixtures("mounted")
def test_g48_a_forked_attempt_without_room_for_its_log_says_so(forking: LocalExecutor, attempt: Attempt) -> None:
    """The fork creates the log before anything else."""
    folder = attempt("a")
    no_more_room(folder, inodes=3)
    assert until_over(forking, forking.submit(folder.path)).exit_code == DISK_EXIT


@pytest.mark.parametrize(
    "then",
    [
        "print('x' * 100)",
        "from safetensors.torch import save_file; import torch; save_file({'a': torch.zeros(9)}, 'weights')",
        "import torch; torch.save(torch.zeros(100), 'weights')",
    ],
)
def test_g48_an_attempt_that_cannot_write_says_so(
    start: str, attempt: Attempt, fake_plugin: Any, monkeypatch: Any, then: str
) -> None:
    """With any library, even if the log has no room for a traceback."""
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10)); "
    folder, executor = with_odd_model(start, attempt, fake_plugin, monkeypatch, body=f"print('a' * 20); {limit}{then}")
    monkeypatch.chdir(folder.path)
    status = until_over(executor, executor.submit(folder.path))
    assert (status.state, status.exit_code) == ("ended", DISK_EXIT)
    executor.close()


def test_g48_an_attempt_whose_temporary_folder_is_full_says_what_is(
    start: str, attempt: Attempt, fake_plugin: Any, monkeypatch: Any
) -> None:
    """The full disk is not that of the study."""
    body = "raise OSError(28, 'No space left on device', '/tmp/of/a/compiler')"
    folder, executor = with_odd_model(start, attempt, fake_plugin, monkeypatch, body=body)
    assert until_over(executor, executor.submit(folder.path)).exit_code == DISK_EXIT
    said = "the attempt cannot write: [Errno 28] No space left on device: '/tmp/of/a/compiler'"
    assert folder.disk_problem() == said
    executor.close()


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        ("raise KeyboardInterrupt('no more')", "KeyboardInterrupt: no more"),
        ("raise GeneratorExit('no more')", "GeneratorExit: no more"),
        ("raise OSError('postgresql://me:secret@host/db is gone')", "OSError: postgresql://***@host/db is gone"),
        ("raise ValueError('no such file: ' + chr(0xdcff))", "ValueError: no such file: \\udcff"),
    ],
)
def test_a_model_that_exits_or_speaks_no_utf8_fails_with_its_reason(
    start: str, attempt: Attempt, fake_plugin: Any, monkeypatch: Any, body: str, reason: str
) -> None:
    """Both are failures of the trial, which another attempt would repeat."""
    folder, executor = with_odd_model(start, attempt, fake_plugin, monkeypatch, body=body)
    assert until_over(executor, executor.submit(folder.path)).exit_code == 0
    result = result_of(folder)
    assert (result.state, result.reason) == ("failed", reason)
    executor.close()


def test_a_log_that_grows_too_long_is_cut(attempt: Attempt) -> None:
    """To its start and end, while it is written; a short one stays unchanged."""
    folder = attempt("a")
    folder.trim_log()
    folder.log.write_bytes(b"begin\n")
    folder.trim_log()
    assert folder.log.read_bytes() == b"begin\n"
    with folder.log.open("ab", buffering=0) as stream:
        stream.write(b"x" * LOG_BYTES)
        stream.write(b"\nend\n")
        folder.trim_log()
        stream.write(b"after\n")
    text = folder.log.read_text()
    assert text.startswith("begin\nxxx")
    assert text.endswith("x\nend\nafter\n")
    left_out = LOG_BYTES + len("begin\n\nend\n") - 2 * (LOG_BYTES // 4)
    assert f"x\n[scalecore: {left_out:,} bytes were left out here]\nx" in text
    assert len(text) < LOG_BYTES


def test_an_attempt_without_a_readable_spec_says_so(executor: LocalExecutor, attempt: Attempt) -> None:
    """Its exit code is not 0, and the log has the reason."""
    folder = attempt("a")
    folder.spec.write_text("{")
    status = until_over(executor, executor.submit(folder.path))
    assert (status.state, status.exit_code) == ("ended", 1)
    problem = "not JSON (Expecting property name enclosed in double quotes, column 2)"
    assert folder.log_tail() == f"{folder.spec}: {problem}"


DRIVER = """
import sys, time
from pathlib import Path
from scalecore.execution.attempt_control import AttemptMonitor
from scalecore.execution.local.executor import LocalExecutor
from scalecore.execution.local.options import LocalOptions

executor = LocalExecutor(LocalOptions(start=sys.argv[1]), worker="scalecore_torch.worker")
handle = executor.submit(Path(sys.argv[2]))
while True:
    executor.poll([handle])
    time.sleep(0.05)
"""


def test_a_worker_whose_driver_is_gone_ends_by_itself(
    start: str, attempt: Attempt, fake_plugin: Any, monkeypatch: Any
) -> None:
    """A driver that was killed without clean-up leaves no process behind, and its attempt leaves a checkpoint."""
    body = "import subprocess; subprocess.Popen(['sleep', '600'])"
    folder = odd(attempt, fake_plugin, monkeypatch, body=body, epochs=ENDLESS)
    driver = subprocess.Popen([sys.executable, "-c", DRIVER, start, str(folder.path)])
    in_training(folder)
    others = [child.pid for child in psutil.Process(driver.pid).children(recursive=True)]
    worker = pid_of(folder)
    assert worker in others
    driver.kill()
    driver.wait()
    for pid in others:
        wait_for(lambda pid=pid: gone(pid), f"the end of process {pid}")  # type: ignore[misc]
    assert result_of(folder).state == "stopped"
    assert checkpoint.load_newest([folder.path]) is not None


def test_an_attempt_that_hangs_in_native_code_does_not_outlive_its_driver(
    start: str, attempt: Attempt, fake_plugin: Any, monkeypatch: Any
) -> None:
    """It blocks the interpreter's lock and cannot notice the end of its driver, so it is killed from outside, with its
    children.
    """
    body = "import ctypes, subprocess; subprocess.Popen(['sleep', '600']); print('hangs'); ctypes.PyDLL(None).pause()"
    folder = odd(attempt, fake_plugin, monkeypatch, body=body)
    driver = subprocess.Popen([sys.executable, "-c", DRIVER, start, str(folder.path)])
    wait_for(lambda: "hangs" in folder.log_tail(), "the hang")
    others = psutil.Process(driver.pid).children(recursive=True)
    assert pid_of(folder) in [other.pid for other in others]
    driver.kill()
    driver.wait()
    for other in others:
        wait_for(lambda pid=other.pid: gone(pid), f"the end of process {other.pid}")  # type: ignore[misc]


def test_an_attempt_that_hangs_outlives_neither_driver_nor_helpers(
    start: str, attempt: Attempt, fake_plugin: Any, monkeypatch: Any
) -> None:
    """The process that would kill it is killed with the driver: a timer of the kernel ends it, without any process."""
    body = "import ctypes; print('hangs'); ctypes.PyDLL(None).pause()"
    folder = odd(attempt, fake_plugin, monkeypatch, body=body)
    driver = subprocess.Popen([sys.executable, "-c", DRIVER, start, str(folder.path)])
    wait_for(lambda: "hangs" in folder.log_tail(), "the hang")
    worker = pid_of(folder)
    family = [one for one in psutil.Process(driver.pid).children(recursive=True) if one.pid != worker]
    assert len(family) == 1
    for one in (psutil.Process(driver.pid), *family):
        one.suspend()  # nobody of them may see the end of another
    for one in (psutil.Process(driver.pid), *family):
        one.kill()
    driver.wait()
    wait_for(lambda: gone(worker), "the end of the attempt")


def test_an_attempt_outlives_the_thread_that_started_it(attempt: Attempt) -> None:
    """The kernel treats the end of that thread as the end of the parent; executors may start attempts in threads."""
    folder = attempt("a", epochs=ENDLESS)
    executor = LocalExecutor(LocalOptions(start="spawn"), worker="scalecore_torch.worker")
    handles: list[LocalHandle] = []
    thread = threading.Thread(target=lambda: (handles.append(executor.submit(folder.path)), in_training(folder)))
    thread.start()
    thread.join()
    in_training(folder, beyond=place(folder))
    deadline = time.monotonic() + 18.0
    while time.monotonic() < deadline:  # longer than the timer of the kernel
        assert executor.poll(handles)[0].state == "running"
        time.sleep(0.2)
    executor.close()


def test_g47_an_attempt_that_is_stopped_is_suspended(executor: LocalExecutor, attempt: Attempt) -> None:
    """Its status reports it as long as it cannot run."""
    handle = executor.submit(attempt("a", epochs=ENDLESS).path)
    in_training(handle.folder)
    assert not executor.poll([handle])[0].suspended
    worker = psutil.Process(pid_of(handle.folder))
    worker.suspend()
    wait_for(lambda: executor.poll([handle])[0].suspended, "the stop")
    worker.resume()
    wait_for(lambda: not executor.poll([handle])[0].suspended, "the resumption")


def test_g47_nothing_hangs_while_the_fork_server_is_stopped(forking: LocalExecutor, attempt: Attempt) -> None:
    """It neither starts an attempt nor reports an end."""
    first = forking.submit(attempt("a").path)
    until_over(forking, first)
    server = fork_server()
    server.suspend()
    second = forking.submit(attempt("b").path)
    wait_for(lambda: forking.poll([second])[0].suspended, "the stop")
    server.resume()
    assert until_over(forking, second).exit_code == 0


def test_the_fork_server_has_one_thread_and_no_torch_pool(forking: LocalExecutor, attempt: Attempt) -> None:
    """A process with several threads must not be forked: after importing torch, and with an attempt running, the server
    still has one.
    """
    folder = attempt("a", epochs=ENDLESS)
    forking.submit(folder.path)
    in_training(folder)
    server = fork_server()
    assert psutil.Process(pid_of(folder)).ppid() == server.pid
    assert len(list(Path(f"/proc/{server.pid}/task").iterdir())) == 1
    assert "libtorch" in Path(f"/proc/{server.pid}/maps").read_text()


def test_one_server_serves_all_attempts(forking: LocalExecutor, attempt: Attempt) -> None:
    """Also several at the same time, each with its own status."""
    folders = [attempt(f"a{index}", attempt=f"{index}-0", seed=index) for index in range(3)]
    handles = [forking.submit(folder.path) for folder in folders]
    server = fork_server().pid
    for handle in handles:
        assert until_over(forking, handle).exit_code == 0
    assert fork_server().pid == server
    assert [result_of(folder, f"{i}-0").state for i, folder in enumerate(folders)] == ["completed"] * 3


def test_a_dead_fork_server_loses_its_attempts_and_is_replaced(forking: LocalExecutor, attempt: Attempt) -> None:
    """Their ends are unknown: state `lost`, processes ended. The next attempt gets a new server."""
    folder = attempt("a", epochs=ENDLESS)
    handle = forking.submit(folder.path)
    in_training(folder)
    server = fork_server()
    server.kill()
    assert until_over(forking, handle).state == "lost"
    wait_for(lambda: gone(pid_of(folder)), "the end of the orphan")
    after = attempt("b")
    assert until_over(forking, forking.submit(after.path)).exit_code == 0
    assert fork_server().pid != server.pid


def test_a_dead_fork_server_is_noticed_by_the_next_submit_too(forking: LocalExecutor, attempt: Attempt) -> None:
    """With several slots the next attempt may be submitted before the others are polled: they are lost all the same."""
    folder = attempt("a", epochs=ENDLESS)
    handle = forking.submit(folder.path)
    in_training(folder)
    assert forking.poll([handle])[0].state == "running"
    server = fork_server()
    server.kill()
    server.wait()
    after = forking.submit(attempt("b").path)
    assert forking.poll([handle])[0].state == "lost"
    assert until_over(forking, after).exit_code == 0
    wait_for(lambda: gone(pid_of(folder)), "the end of the orphan")


def test_a_fork_server_that_dies_while_it_is_asked_loses_the_attempt(
    forking: LocalExecutor, attempt: Attempt, monkeypatch: Any
) -> None:
    """Killed between the check and the request, it breaks the pipe: the attempt is lost, and the study continues."""
    first = forking.submit(attempt("a").path)
    assert until_over(forking, first).exit_code == 0
    server = fork_server()
    server.kill()
    wait_for(lambda: server.status() == psutil.STATUS_ZOMBIE, "the server's death")
    # The moment of the race: the executor has looked at the server before it died.
    monkeypatch.setattr(forking._launcher, "_running_server", lambda: forking._launcher._server)
    handle = forking.submit(attempt("b").path)
    monkeypatch.undo()
    assert forking.poll([handle])[0].state == "lost"
    assert until_over(forking, forking.submit(attempt("c").path)).exit_code == 0


def test_results_of_another_attempt_are_ignored(attempt: Attempt, tmp_path: Path) -> None:
    """A late result has the id of the attempt that wrote it."""
    folder = attempt("a")
    assert folder.read_result("0-0") is None
    folder.result.write_text('{"attempt": "0-0", "state": "completed", "value": 0.1}\n')
    assert result_of(folder).value == 0.1
    assert folder.read_result("0-1") is None


def test_a_line_that_is_being_written_is_left_for_later(attempt: Attempt) -> None:
    """Only complete lines of the learning curve are read."""
    folder = attempt("a")
    assert folder.read_epochs(after=0) == []
    folder.epochs.write_text('{"epoch": 1}\n{"epoch": 2}\n{"epo')
    assert folder.read_epochs(after=0) == [{"epoch": 1}, {"epoch": 2}]
    assert folder.read_epochs(after=1) == [{"epoch": 2}]
    folder.epochs.write_text('{"epoch": 1}\n{"epoch": 2}\n{"epoch": 3}\n')
    assert folder.read_epochs(after=2) == [{"epoch": 3}]


def test_a_damaged_learning_curve_is_read_up_to_the_damage(attempt: Attempt) -> None:
    """A power cut may damage a file that is not flushed: the study continues with the intact lines."""
    folder = attempt("a")
    for damage in (b"\0\0\0\0\n", b"\xff\xfe\n", b'{"epoch": 2, "val\n'):
        folder.epochs.write_bytes(b'{"epoch": 1}\n' + damage + b'{"epoch": 3}\n')
        assert folder.read_epochs(after=0) == [{"epoch": 1}]


def test_the_log_tail_is_the_end_of_the_log(attempt: Attempt) -> None:
    """Bytes that are not UTF-8 do not hide it, and no escape sequence reaches a terminal."""
    folder = attempt("a")
    assert folder.log_tail() == ""
    folder.log.write_bytes(b"start\n" + b"x" * 9000 + "\xff an end\n".encode("latin-1"))
    assert folder.log_tail(characters=12) == "xxx\ufffd an end"
    folder.log.write_bytes(b"\x1b[31mred\n\tnot")
    assert folder.log_tail() == "\\x1b[31mred\n\tnot"


def test_control_is_read_whole(attempt: Attempt) -> None:
    """The driver's request is one small file that is replaced atomically."""
    folder = attempt("a")
    for action in ("pause", "go_on", "prune", "stop"):
        folder.tell(action)  # type: ignore[arg-type]
        assert read_json(folder.control) == {"action": action}
    assert [path.name for path in folder.path.iterdir() if path.name.startswith(".")] == []


def test_what_is_told_within_one_tick_of_the_file_system_is_heeded(attempt: Attempt) -> None:
    """Some file systems have a resolution of a second: an attempt that missed the end of a pause would wait forever."""
    folder = attempt("a")
    monitor = AttemptMonitor(folder, save=lambda folder, state: None)
    for action in ("prune", "go_on", "prune"):
        folder.tell(action)  # type: ignore[arg-type]
        os.utime(folder.control, (1_700_000_000, 1_700_000_000))
        assert monitor.step(epoch=1, step=0, phase="train") == action
