"""What every executor must hold: real attempts of a small model, run to their end, stopped and killed."""

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
    """Inherit, and give the fixture `make`: a function from an `ExecutorContext` to a fresh executor."""

    runs_here: bool = True
    """False for an executor whose attempts are processes of another machine, which cannot be looked for here."""

    @pytest.fixture
    def make(self) -> Make:
        """Makes the executor under test."""
        pytest.fail("give the fixture `make`: it returns a function from an ExecutorContext to your executor")

    @pytest.fixture
    def executor(self, make: Make, tmp_path: Path) -> Iterator[Executor]:
        """The executor; whatever it has started is ended after the test."""
        executor = make(_context(tmp_path))
        yield executor
        executor.close()

    def test_an_attempt_runs_to_its_end(self, executor: Executor, tmp_path: Path) -> None:
        """Running first, then ended with exit code 0 and a result in the folder."""
        folder = self._attempt(tmp_path, "a", epochs=2)
        handle = executor.submit(folder.path)
        assert executor.poll([handle])[0].state == "running"
        status = self._until_over(executor, handle)
        assert (status.state, status.exit_code) == ("ended", 0), folder.log_tail()
        result = folder.read_result("0-0")
        assert result is not None
        assert result.state == "completed"

    def test_a_stop_leaves_a_checkpoint(self, executor: Executor, tmp_path: Path) -> None:
        """Told to stop, the attempt ends by itself, and can go on from where it was."""
        folder = self._attempt(tmp_path, "a", epochs=ENDLESS)
        handle = executor.submit(folder.path)
        self._in_training(folder)
        executor.stop(handle, kill=False)
        assert self._until_over(executor, handle).state == "ended"
        result = folder.read_result("0-0")
        assert result is not None
        assert result.state == "stopped"
        assert list((folder.path).glob("**/*.pt")) or list((folder.path).glob("**/checkpoint*"))

    def test_a_kill_ends_it_at_once(self, executor: Executor, tmp_path: Path) -> None:
        """No result, an exit code that is not 0, and no process left."""
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

    def test_stopping_twice_or_late_does_no_harm(self, executor: Executor, tmp_path: Path) -> None:
        """The attempt may have ended between the look and the stop."""
        folder = self._attempt(tmp_path, "a", epochs=1)
        handle = executor.submit(folder.path)
        self._until_over(executor, handle)
        executor.stop(handle, kill=False)
        executor.stop(handle, kill=True)
        assert executor.poll([handle])[0].state == "ended"

    def test_a_spec_that_cannot_be_run_ends_as_a_failure(self, executor: Executor, tmp_path: Path) -> None:
        """Or with a result that says so; the reason is in the attempt's folder."""
        folder = self._attempt(tmp_path, "broken", epochs=1, data="/nowhere")
        status = self._until_over(executor, executor.submit(folder.path))
        result = folder.read_result("0-0")
        assert status.exit_code != 0 or (result is not None and result.state == "failed")
        assert folder.log_tail() if result is None else result.reason

    def test_closing_ends_everything(self, make: Make, tmp_path: Path) -> None:
        """Nothing that was started is left. Before, each attempt has its own status, in the order of the handles."""
        executor = make(_context(tmp_path))
        folders = [self._attempt(tmp_path, name, epochs=ENDLESS) for name in ("a", "b")]
        handles = [executor.submit(folder.path) for folder in folders]
        for folder in folders:
            self._in_training(folder)
        pids = [int(json.loads(folder.process.read_text())["pid"]) for folder in folders]
        executor.stop(handles[0], kill=True)
        self._until_over(executor, handles[0])
        states = [status.state for status in executor.poll(handles)]
        assert states[0] in ("ended", "lost"), f"of two attempts the first was killed, and is told to be {states[0]}"
        assert states[1] == "running", f"of two attempts the first was killed, and the other is told to be {states[1]}"
        executor.close()
        for pid in pids:
            self._gone(pid)

    # --- helpers ----------------------------------------------------------------------------------------------------

    def _attempt(self, root: Path, name: str, *, epochs: int, **changes: Any) -> AttemptFolder:
        """The folder of an attempt on prepared data, as the driver writes it."""
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
    """What the default trainer's attempts are run with."""
    from scalecore.plugins.registry import load_registry

    trainer = load_registry(no_plugins=True).default("trainer", DEFAULT_TRAINER).record
    return ExecutorContext(folder=folder, slots=2, worker=trainer.worker)  # type: ignore[attr-defined]  # a TrainerRecord


def _zombie(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True
