"""Contract of executors, tested with real attempts of a small model."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from scalecore.api.executor import AttemptStatus, Executor, ExecutorContext
from scalecore.config.experiment import DEFAULT_TRAINER
from scalecore.execution.folder import AttemptFolder
from scalecore.testing.attempts import attempt_in, plan_in, wait_until

__all__ = ["ExecutorContract"]

Make = Callable[[ExecutorContext], Executor]
ENDLESS = 1_000_000


class ExecutorContract:
    """Inherit and define the fixture `make`: a function from an `ExecutorContext` to a new executor."""

    runs_here: bool = True
    """False if attempts run on another machine, where the tests cannot look for their processes."""

    @pytest.fixture
    def make(self) -> Make:
        """A function that creates the executor under test."""
        pytest.fail("define the fixture `make`: return a function from an ExecutorContext to your executor")

    @pytest.fixture
    def executor(self, make: Make, tmp_path: Path) -> Iterator[Executor]:
        """The executor; it is closed after the test."""
        executor = make(_context(tmp_path))
        yield executor
        executor.close()

    def test_an_attempt_runs_to_its_end(self, executor: Executor, tmp_path: Path) -> None:
        """Its status is `running`, then `ended` with exit code 0, and its folder has a result."""
        folder = self._attempt(tmp_path, "a", epochs=2)
        handle = executor.submit(folder.path)
        assert executor.poll([handle])[0].state == "running"
        status = self._until_over(executor, handle)
        assert (status.state, status.exit_code) == ("ended", 0), folder.log_tail()
        result = folder.read_result("0-0")
        assert result is not None
        assert result.state == "completed"

    def test_a_stop_leaves_a_checkpoint(self, executor: Executor, tmp_path: Path) -> None:
        """After `stop(kill=False)` the attempt writes a checkpoint and exits."""
        folder = self._attempt(tmp_path, "a", epochs=ENDLESS)
        handle = executor.submit(folder.path)
        self._in_training(folder)
        executor.stop(handle, kill=False)
        assert self._until_over(executor, handle).state == "ended"
        result = folder.read_result("0-0")
        assert result is not None
        assert result.state == "stopped"
        assert list((folder.path).glob("**/*.pt")) or list((folder.path).glob("**/checkpoint*"))

    def test_a_kill_ends_the_attempt(self, executor: Executor, tmp_path: Path) -> None:
        """After `stop(kill=True)` no process and no result is left, and the exit code is not 0."""
        folder = self._attempt(tmp_path, "a", epochs=ENDLESS)
        handle = executor.submit(folder.path)
        self._in_training(folder)
        pid = int(json.loads(folder.process.read_text())["pid"])
        executor.stop(handle, kill=True)
        status = self._until_over(executor, handle)
        assert status.state in ("ended", "lost")
        assert status.exit_code != 0
        assert folder.read_result("0-0") is None
        self._gone(pid)

    def test_stopping_an_ended_attempt_has_no_effect(self, executor: Executor, tmp_path: Path) -> None:
        """An attempt may end between `poll` and `stop`."""
        folder = self._attempt(tmp_path, "a", epochs=1)
        handle = executor.submit(folder.path)
        self._until_over(executor, handle)
        executor.stop(handle, kill=False)
        executor.stop(handle, kill=True)
        assert executor.poll([handle])[0].state == "ended"

    def test_an_invalid_spec_fails(self, executor: Executor, tmp_path: Path) -> None:
        """The exit code is not 0, or the result is `failed`; the attempt's folder has the reason."""
        folder = self._attempt(tmp_path, "broken", epochs=1, data="/nowhere")
        status = self._until_over(executor, executor.submit(folder.path))
        result = folder.read_result("0-0")
        assert status.exit_code != 0 or (result is not None and result.state == "failed")
        assert folder.log_tail() if result is None else result.reason

    def test_closing_ends_all_attempts(self, make: Make, tmp_path: Path) -> None:
        """`poll` returns a status for each handle, in their order; `close` leaves no process."""
        executor = make(_context(tmp_path))
        folders = [self._attempt(tmp_path, name, epochs=ENDLESS) for name in ("a", "b")]
        handles = [executor.submit(folder.path) for folder in folders]
        for folder in folders:
            self._in_training(folder)
        pids = [int(json.loads(folder.process.read_text())["pid"]) for folder in folders]
        executor.stop(handles[0], kill=True)
        self._until_over(executor, handles[0])
        states = [status.state for status in executor.poll(handles)]
        assert states[0] in ("ended", "lost"), f"the first of two attempts was killed, but poll returns {states[0]}"
        assert states[1] == "running", f"the second of two attempts runs, but poll returns {states[1]}"
        executor.close()
        for pid in pids:
            self._gone(pid)

    # --- helpers ----------------------------------------------------------------------------------------------------

    def _attempt(self, root: Path, name: str, *, epochs: int, **changes: Any) -> AttemptFolder:
        """Create the folder of an attempt on prepared data, as the driver does."""
        source, registry = root / "source", {"no_plugins": True, "block": []}
        plan, _ = plan_in(source, {}, registry=registry)
        values = {"learning_rate": 1e-3, "epochs": epochs}
        data = Path(changes.pop("data", source / "data"))
        return attempt_in(root / name, plan, data=data, registry=registry, hyperparameters=values, **changes)

    def _until_over(self, executor: Executor, handle: Any) -> AttemptStatus:
        wait_until(lambda: executor.poll([handle])[0].state != "running", "the attempt's end")
        return executor.poll([handle])[0]

    def _in_training(self, folder: AttemptFolder) -> None:
        def trains() -> bool:
            seen = folder.read_progress()
            return seen is not None and seen.phase in ("train", "evaluate") and seen.epoch >= 1

        wait_until(trains, f"training in {folder.path.name}; its log: {folder.log_tail()}")

    def _gone(self, pid: int) -> None:
        if self.runs_here:
            wait_until(lambda: not psutil.pid_exists(pid) or _zombie(pid), f"process {pid} to end")


def _context(folder: Path) -> ExecutorContext:
    """The context for attempts of the default trainer."""
    from scalecore.plugins.registry import load_registry

    trainer = load_registry(no_plugins=True).default("trainer", DEFAULT_TRAINER).record
    return ExecutorContext(folder=folder, slots=2, worker=trainer.worker)  # type: ignore[attr-defined]  # a TrainerRecord


def _zombie(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True
