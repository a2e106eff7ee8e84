"""The argument of a training function (trainer `function`): one trial, its data, and requests to the study."""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from scalecore.api.data_report import TargetScale
from scalecore.api.errors import RefusedError
from scalecore.data.folder import read_description
from scalecore.execution.attempt_control import AttemptMonitor
from scalecore.execution.attempt_spec import AttemptSpec
from scalecore.execution.hyperparameters import Hyperparameters
from scalecore.execution.model_family import build_family

SMOKE_WINDOWS = 256
"""Number of windows of each part in the smoke step."""
FINISH = 4.0
"""Seconds in which an epoch may still finish after a request to stop: less than any grace time."""
PARTS_OF_A_TRIAL = ("train", "val")

Array = npt.NDArray[Any]


class TrainingEnded(BaseException):
    """Ends the training function: the study stops or prunes the trial, or early stopping ends it. Not an `Exception`,
    so that functions do not catch it by accident."""

    def __init__(self, action: str) -> None:
        super().__init__(action)
        self.action = action


class FunctionTrial:
    """One trial, as its training function sees it. `epoch` counts ended epochs, including earlier attempts."""

    def __init__(self, spec: AttemptSpec, monitor: AttemptMonitor) -> None:
        self._spec, self._monitor = spec, monitor
        self._resume: Path | None = None
        self._steps = 0
        self._stop_asked = 0.0
        self.architecture: Mapping[str, int] = dict(spec.architecture)
        self.hyperparameters = Hyperparameters(spec.hyperparameters)
        """Hyper-parameters by name. A sampled one that is never read is an error (guard G03)."""
        self.shape = spec.shape
        self.task = spec.task
        """`binary`, `multiclass` or `forecast`."""
        self.seed = spec.seed
        self.threads = spec.threads
        self.device = "cpu" if spec.device == "auto" else spec.device
        self.smoke = spec.mode == "smoke"
        """Whether this is the smoke step, with little data and a single epoch."""
        self.folder = monitor.folder.path
        self.num_parameters = spec.num_parameters
        self.epoch = 0
        self.receive: Callable[[Mapping[str, Any]], None] | None = None
        self.save: Callable[[Path], object] | None = None
        self.resume_was_read = False
        self.verified: int | None = None
        self.seed_everything()

    @property
    def resume(self) -> Path | None:
        """The checkpoint to resume from, written through `save_with`; None at the start of the training."""
        self.resume_was_read = True
        return self._resume

    def continue_from(self, checkpoint: Path, *, epoch: int) -> None:
        """Called by the worker alone."""
        self._resume, self.epoch = checkpoint, epoch

    def save_with(self, save: Callable[[Path], object]) -> None:
        """Register `save`, which writes a checkpoint to the path of its argument, as one file.

        It is called between epochs: at the interval set in the experiment file, and when the study stops the trial. The
        file gets its final name when it is complete.
        """
        self.save = save

    def data(self, part: str) -> tuple[Array, Array]:
        """Return x [windows, context, features] in float32 and y [windows] of `train` or `val`, in order of time.

        Labels are classes in int64, or forecast values in the unit of the target.
        """
        if part not in PARTS_OF_A_TRIAL:
            raise ValueError(f"data({part!r}): a trial can read only the parts 'train' and 'val'")
        folder = Path(self._spec.data)
        context, ends = self._spec.shape.context, np.load(folder / f"{part}.npy", allow_pickle=False)
        ends = ends[:SMOKE_WINDOWS] if self.smoke else ends
        values = np.load(folder / "values.npy", mmap_mode="r", allow_pickle=False)
        windows = np.lib.stride_tricks.sliding_window_view(values, context, axis=0)[ends - context + 1]
        labels = np.load(folder / "labels.npy", mmap_mode="r", allow_pickle=False)[ends]
        scale = self.scale
        if scale is not None:
            labels = scale.in_unit(labels)
        return np.ascontiguousarray(windows.transpose(0, 2, 1)), (
            labels if self.task == "forecast" else labels.astype(np.int64)
        )

    @property
    def scale(self) -> TargetScale | None:
        """`mean` and `std` of the training labels of a forecast, for standardising them; None for other tasks."""
        return read_description(Path(self._spec.data)).target_scale

    def build(self) -> Any:
        """Set the random seed and return the result of the model family's `build` for this trial."""
        family = build_family(self._spec.model, registry=self._spec.registry)
        for _ in range(2):
            had_torch = "torch" in sys.modules
            self.seed_everything()
            model = family.build(self._spec.architecture, self.hyperparameters, self._spec.shape)
            if had_torch == ("torch" in sys.modules):
                break  # otherwise `build` imported torch, which was not seeded: build again
        if "torch" in sys.modules and callable(parameters := getattr(model, "parameters", None)):
            self.verify_size(sum(one.numel() for one in parameters() if one.requires_grad))
        return model

    def verify_size(self, count: int) -> None:
        """Compare the model's number of parameters with that of the model family; refuse a difference (guard G04).

        `build` does this for torch modules.
        """
        self.verified = int(count)
        if self.verified != self.num_parameters:
            raise RefusedError(
                f"the built model {self._spec.model.use!r} has {self.verified:,} parameters, its formula returns "
                f"{self.num_parameters:,} for {dict(self.architecture)}: fix num_parameters() of the plugin",
                guard="G04",
            )

    def report(self, metrics: Mapping[str, Any]) -> None:
        """Report the metrics of an ended epoch, as a generator yields them, for training loops with callbacks.

        Does not return if the training ends here. A function that reports must return None.
        """
        assert self.receive is not None
        self.receive(metrics)

    def step(self) -> None:
        """Call this regularly within a long epoch, so that the study can pause and stop the trial there.

        After a request to stop, an epoch may finish within some seconds, so that its checkpoint is written. Otherwise
        it is aborted, and repeated from the last checkpoint when the trial resumes.
        """
        action = self._monitor.step(epoch=self.epoch + 1, step=self._steps, phase="train")
        self._steps += 1
        if action == "stop" and self.save is not None:
            self._stop_asked = self._stop_asked or time.monotonic()
            if time.monotonic() - self._stop_asked < FINISH:
                return
        if action != "go_on":
            raise TrainingEnded(action)

    def end_epoch(self) -> None:
        """Called by the worker alone."""
        self.epoch, self._steps = self.epoch + 1, 0

    def seed_everything(self) -> None:
        """Seed Python, numpy's legacy generator, and torch if it is imported."""
        random.seed(self.seed)
        np.random.seed(self.seed % 2**32)
        if (torch := sys.modules.get("torch")) is not None:
            torch.manual_seed(self.seed)
