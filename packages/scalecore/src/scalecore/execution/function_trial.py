"""What the function of the trainer `function` is given: one trial, its data, and what it may ask of the study."""

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
"""Of each part, in the smoke step."""
FINISH = 4.0
"""Seconds that an epoch may take to its end after the study has asked for a stop: below any grace."""
PARTS_OF_A_TRIAL = ("train", "val")

Array = npt.NDArray[Any]


class TrainingEnded(BaseException):
    """Nothing more is asked of the function: the study stops or prunes the trial, or it is done by early stopping. No
    `Exception`, so that no function catches it."""

    def __init__(self, action: str) -> None:
        super().__init__(action)
        self.action = action


class FunctionTrial:
    """One trial, as its function sees it. `epoch` counts the epochs that have ended, also in earlier attempts."""

    def __init__(self, spec: AttemptSpec, monitor: AttemptMonitor) -> None:
        self._spec, self._monitor = spec, monitor
        self._resume: Path | None = None
        self._steps = 0
        self._stop_asked = 0.0
        self.architecture: Mapping[str, int] = dict(spec.architecture)
        self.hyperparameters = Hyperparameters(spec.hyperparameters)
        """By name. A sampled one that is never read is refused (guard G03)."""
        self.shape = spec.shape
        self.task = spec.task
        """`binary`, `multiclass` or `forecast`."""
        self.seed = spec.seed
        self.threads = spec.threads
        self.device = "cpu" if spec.device == "auto" else spec.device
        self.smoke = spec.mode == "smoke"
        """Whether the study is only tried out: data is short, and nothing after the first epoch is asked for."""
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
        """The checkpoint to continue from, a file that `save_with` wrote; None where the training begins."""
        self.resume_was_read = True
        return self._resume

    def continue_from(self, checkpoint: Path, *, epoch: int) -> None:
        """Called by the worker alone."""
        self._resume, self.epoch = checkpoint, epoch

    def save_with(self, save: Callable[[Path], object]) -> None:
        """Let checkpoints be written by `save`, which writes one file at the path that it is given.

        It is called between two epochs: as often as the experiment file says, and when the study stops the trial. The
        file gets its name when it is whole.
        """
        self.save = save

    def data(self, part: str) -> tuple[Array, Array]:
        """x [windows, context, features] in float32 and y [windows] of `train` or `val`, in the order of time.

        Labels are classes in int64, or what is forecast in the target's unit.
        """
        if part not in PARTS_OF_A_TRIAL:
            raise ValueError(f"data({part!r}): a trial sees the parts train and val, and no other")
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
        """`mean` and `std` of the training labels of a forecast, which is trained best on labels without them."""
        return read_description(Path(self._spec.data)).target_scale

    def build(self) -> Any:
        """What the model family's `build` returns for this trial, with the random seed set before."""
        family = build_family(self._spec.model, registry=self._spec.registry)
        for _ in range(2):
            had_torch = "torch" in sys.modules
            self.seed_everything()
            model = family.build(self._spec.architecture, self.hyperparameters, self._spec.shape)
            if had_torch == ("torch" in sys.modules):
                break  # else torch was imported by `build`, and not there to be seeded
        if "torch" in sys.modules and callable(parameters := getattr(model, "parameters", None)):
            self.verify_size(sum(one.numel() for one in parameters() if one.requires_grad))
        return model

    def verify_size(self, count: int) -> None:
        """Say how many parameters the model has; another number than the family says is refused (guard G04).

        `build` does it for modules of torch.
        """
        self.verified = int(count)
        if self.verified != self.num_parameters:
            raise RefusedError(
                f"the built model {self._spec.model.use!r} has {self.verified:,} parameters, its formula says "
                f"{self.num_parameters:,} for {dict(self.architecture)}: mend num_parameters() of the plugin",
                guard="G04",
            )

    def report(self, metrics: Mapping[str, Any]) -> None:
        """What a generator yields, for a loop that calls back: the metrics of an epoch that has ended.

        Does not return where the training ends here. The function itself then returns None.
        """
        assert self.receive is not None
        self.receive(metrics)

    def step(self) -> None:
        """Call it now and then within a long epoch, so that the study can pause and stop the trial there.

        An epoch that ends within some seconds of a stop is finished, for the checkpoint after it. Else it is left, and
        trained again from the last checkpoint when the trial continues.
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
        """Seed Python, numpy's legacy generator, and torch where it is imported."""
        random.seed(self.seed)
        np.random.seed(self.seed % 2**32)
        if (torch := sys.modules.get("torch")) is not None:
            torch.manual_seed(self.seed)
