"""What every executor must hold: real attempts of a small model, run to their end, stopped and killed."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from attrs import evolve

from scalecore.api.executor import AttemptStatus, Executor, ExecutorContext
from scalecore.config.experiment import DEFAULT_TRAINER
from scalecore.execution.folder import AttemptFolder
from scalecore.testing.fakes import EXPERIMENT, write_walk

__all__ = ["ExecutorContract"]

Make = Callable[[ExecutorContext], Executor]
WAIT = 60.0
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
        from scalecore.config.resolve import load_resolved
        from scalecore.planning.build_plan import build_plan
        from scalecore.planning.build_spec import attempt_spec
        from scalecore.plugins.registry import load_registry

        source = root / "source"
        source.mkdir(exist_ok=True)
        write_walk(source)
        file = source / "experiment.yaml"
        file.write_text(yaml.safe_dump({**EXPERIMENT, "training": {**EXPERIMENT["training"], "early_stopping": None}}))
        loaded, resolved = load_resolved(file, registry=load_registry(no_plugins=True))
        plan, _ = build_plan(loaded, resolved, folder=source)
        plan.write_data(source / "data")
        (architecture,) = plan.grid.architectures
        spec = attempt_spec(
            plan,
            mode="train",
            attempt="0-0",
            number=0,
            architecture=architecture.values,
            num_parameters=architecture.num_parameters,
            flops=architecture.flops,
            hyperparameters={**plan.fixed, "learning_rate": 1e-3, "epochs": epochs},
            seed=5,
            micro_batch=64,
            data=source / "data",
            threads=1,
            registry={"no_plugins": True, "block": []},
        )
        folder = AttemptFolder(root / name)
        folder.create(evolve(spec, **changes))
        return folder

    def _until(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + WAIT
        while not condition():
            assert time.monotonic() < deadline, f"waited {WAIT:.0f} s in vain for {what}"
            time.sleep(0.01)

    def _until_over(self, executor: Executor, handle: Any) -> AttemptStatus:
        self._until(lambda: executor.poll([handle])[0].state != "running", "the attempt's end")
        return executor.poll([handle])[0]

    def _in_training(self, folder: AttemptFolder) -> None:
        def trains() -> bool:
            seen = folder.read_progress()
            return seen is not None and seen.phase in ("train", "evaluate") and seen.epoch >= 1

        self._until(trains, f"training in {folder.path.name}; its log: {folder.log_tail()}")

    def _gone(self, pid: int) -> None:
        if self.runs_here:
            self._until(lambda: not psutil.pid_exists(pid) or _zombie(pid), f"process {pid} to end")


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
