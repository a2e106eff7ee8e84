"""Contract of trainers, tested in the driver and with real attempts."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import pytest

from scalecore.api.executor import ExecutorContext
from scalecore.api.files import plain
from scalecore.api.memory_forecast import EndedAttempt
from scalecore.api.trainer import LossContext, TrainingChoices
from scalecore.execution.attempt_result import AttemptResult
from scalecore.execution.folder import AttemptFolder
from scalecore.execution.local.executor import LocalExecutor
from scalecore.execution.local.options import LocalOptions
from scalecore.testing.attempts import attempt_in, plan_in, wait_until

if TYPE_CHECKING:
    from scalecore.planning.plan import Plan
    from scalecore.planning.runtime import Runtime

__all__ = ["TrainerContract"]

REGISTRY: Mapping[str, Any] = {"no_plugins": False, "block": []}
_DRIVE = """
import json, sys
from pathlib import Path
from scalecore.testing.attempts import plan_in
plan_in(Path(sys.argv[1]), json.loads(sys.argv[2]), registry={"no_plugins": False, "block": []})
print(json.dumps(sorted(sys.modules)))
"""


class TrainerContract:
    """Inherit and set `experiment` to the sections of an experiment file that uses your trainer.

    They replace sections of `scalecore.testing.fakes.EXPERIMENT`, a study of seconds on a random walk. `training` must
    have `use` and hyper-parameters with which a trial has two epochs.
    """

    experiment: ClassVar[Mapping[str, Any]] = {}
    endless: ClassVar[Mapping[str, Any]] = {"epochs": 1_000_000}
    """Hyper-parameters with which a trial runs until it is stopped."""
    diverging: ClassVar[Mapping[str, Any] | None] = None
    """Hyper-parameters with which the loss becomes infinite; None if there are none."""
    checkpoints: ClassVar[bool] = True
    """Whether a stopped attempt leaves a checkpoint."""

    @pytest.fixture
    def source(self, tmp_path: Path) -> Path:
        """The folder of the experiment file. Override it to write files that the experiment names, as `./train.py`."""
        folder = tmp_path / "source"
        folder.mkdir()
        return folder

    @pytest.fixture
    def planned(self, source: Path) -> tuple[Plan, Runtime]:
        """The plan of the experiment with its live objects."""
        assert self.experiment, "set `experiment`: {'training': {'use': 'my-trainer', ...}}"
        return plan_in(source, self.experiment, registry=REGISTRY)

    @pytest.fixture
    def executor(self, planned: tuple[Plan, Runtime], tmp_path: Path) -> Iterator[LocalExecutor]:
        """Starts the trainer's worker; it is closed after the test."""
        worker = planned[0].resolved.trainer.record.worker  # type: ignore[attr-defined]  # a TrainerRecord
        context = ExecutorContext(folder=tmp_path, slots=1, worker=worker)
        executor = LocalExecutor(LocalOptions(), worker=context.worker)
        yield executor
        executor.close()

    # --- in the driver ----------------------------------------------------------------------------------------------

    def test_the_driver_imports_nothing_that_trains(self, planned: tuple[Plan, Runtime], source: Path) -> None:
        """Planning imports none of torch, TensorFlow, JAX and scikit-learn."""
        arguments = [str(source), json.dumps(plain(self.experiment))]
        done = subprocess.run(
            [sys.executable, "-c", _DRIVE, *arguments], capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stderr
        modules = json.loads(done.stdout.splitlines()[-1])
        heavy = [name for name in ("torch", "tensorflow", "jax", "sklearn") if name in modules]
        assert not heavy, f"the trainer imports {', '.join(heavy)} in the driver; import them in the worker"

    def test_its_answers_are_consistent(self, planned: tuple[Plan, Runtime]) -> None:
        """Hyper-parameters accept their defaults, the micro-batch fits into the batch, the loss has a kind."""
        plan, _ = planned
        trainer = plan.resolved.training
        names = [one.name for one in trainer.hyperparameters()]
        assert len(set(names)) == len(names), f"hyper-parameters declared twice: {names}"
        for one in trainer.hyperparameters():
            assert one.problem(one.default) is None, f"hyper-parameter {one.name} refuses its default"
        size = trainer.step_size()
        assert 1 <= size.micro_batch <= size.effective_batch
        assert trainer.loss(LossContext(task="binary", counts=(10, 10)))["kind"]
        assert trainer.outputs(1) >= 1
        assert not list(trainer.problems(TrainingChoices(), task="binary"))

    def test_the_forecast_learns_from_measurements(self, planned: tuple[Plan, Runtime]) -> None:
        """It predicts a positive number of bytes, and more after larger peaks were measured."""
        plan, runtime = planned
        architecture, size = plan.grid.architectures[0], plan.step_size.micro_batch

        def predicted() -> int:
            found = runtime.forecast.predict(architecture, size, device="cpu")
            assert found is not None, "the forecast returns no prediction"
            assert found.source
            return found.bytes

        before = predicted()
        assert before > 0
        assert runtime.forecast.rough(architecture, size) > 0
        prediction = runtime.forecast.predict(architecture, size, device="cpu")
        assert prediction is not None
        peak = 3 * before
        for _ in range(3):
            ended = EndedAttempt(predicted=prediction.plain(), peak=peak, host_peak=peak, whole=True)
            runtime.forecast.learn([ended])
        assert predicted() > before

    # --- attempts ---------------------------------------------------------------------------------------------------

    def test_a_smoke_step_reports_device_and_memory(
        self, planned: tuple[Plan, Runtime], executor: LocalExecutor, source: Path
    ) -> None:
        """An attempt of mode `smoke` completes; its result has the device and the measured memory."""
        result = self._run(planned[0], executor, source / "smoke", mode="smoke")
        assert result.state == "completed", result.reason
        assert (result.device or "").partition(":")[0] in ("cpu", "cuda", "mps")
        assert result.memory is not None
        assert result.memory.micro_batch is not None

    def test_a_trial_runs_to_its_end(
        self, planned: tuple[Plan, Runtime], executor: LocalExecutor, source: Path
    ) -> None:
        """The value is that of the best epoch, each epoch is written when it ends, and the result has the memory."""
        result = self._run(planned[0], executor, source / "a")
        assert result.state == "completed", result.reason
        curve = result.learning_curve or ()
        assert result.epochs_ended == len(curve) == len(AttemptFolder(source / "a").read_epochs(after=0)) >= 1
        losses = [one for line in curve if (one := line["val_loss"]) is not None and math.isfinite(one)]
        assert len(losses) == len(curve)
        assert result.value == min(losses)
        assert result.best is not None
        assert result.best.val_loss == result.value
        assert result.memory is not None
        assert not result.warnings

    def test_equal_seeds_compute_the_same(
        self, planned: tuple[Plan, Runtime], executor: LocalExecutor, source: Path
    ) -> None:
        """Two attempts with the same seed have bit-identical losses, so a trial can be trained again."""
        first, second = (self._run(planned[0], executor, source / name) for name in ("a", "b"))
        assert [line["val_loss"] for line in first.learning_curve or ()] == [
            line["val_loss"] for line in second.learning_curve or ()
        ]

    def test_a_stopped_trial_continues(
        self, planned: tuple[Plan, Runtime], executor: LocalExecutor, source: Path
    ) -> None:
        """A stopped attempt ends. If it leaves a checkpoint, the next attempt does not repeat its epochs."""
        folder = self._attempt(planned[0], source / "a", self.endless)
        handle = executor.submit(folder.path)
        wait_until(lambda: len(folder.read_epochs(after=0)) > 1, f"the second epoch; the log: {folder.log_tail()}")
        executor.stop(handle, kill=False)
        stopped = self._result(executor, folder, handle)
        assert stopped.state == "stopped", stopped.reason
        assert folder.has_checkpoint() is self.checkpoints
        if not self.checkpoints:
            return
        ended = stopped.epochs_ended or 0
        again = self._attempt(planned[0], source / "b", self.endless, resume_from=[str(folder.path)])
        handle = executor.submit(again.path)
        wait_until(lambda: bool(again.read_epochs(after=0)), f"an epoch; the log: {again.log_tail()}")
        executor.stop(handle, kill=False)
        continued = self._result(executor, again, handle)
        assert continued.resumed_from is not None
        assert again.read_epochs(after=0)[0]["epoch"] == ended + 1
        assert [line["epoch"] for line in continued.learning_curve or ()][: ended + 1] == [*range(1, ended + 2)]

    def test_g36_a_trial_that_diverges_has_no_value(
        self, planned: tuple[Plan, Runtime], executor: LocalExecutor, source: Path
    ) -> None:
        """Its state is `diverged`, with a reason and without a value."""
        if self.diverging is None:
            pytest.skip("set `diverging` to hyper-parameters with which a trial of your trainer diverges")
        result = self._run(planned[0], executor, source / "a", values=self.diverging)
        assert result.state == "diverged", result.reason
        assert result.reason
        assert result.value is None

    # --- helpers ----------------------------------------------------------------------------------------------------

    def _attempt(self, plan: Plan, path: Path, values: Mapping[str, Any], **changes: Any) -> AttemptFolder:
        data, registry = path.parent / "data", plan.resolved.registry(REGISTRY)
        middles = {"learning_rate": 1e-3, **values}
        return attempt_in(path, plan, data=data, registry=registry, hyperparameters=middles, **changes)

    def _run(
        self,
        plan: Plan,
        executor: LocalExecutor,
        path: Path,
        *,
        mode: Literal["train", "smoke"] = "train",
        values: Mapping[str, Any] | None = None,
    ) -> AttemptResult:
        folder = self._attempt(plan, path, values or {}, mode=mode)
        return self._result(executor, folder, executor.submit(folder.path))

    def _result(self, executor: LocalExecutor, folder: AttemptFolder, handle: Any) -> AttemptResult:
        wait_until(lambda: executor.poll([handle])[0].state != "running", "the attempt's end")
        result = folder.read_result("0-0")
        assert result is not None, folder.log_tail()
        return result
