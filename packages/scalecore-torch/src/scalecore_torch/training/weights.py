"""Weights as safetensors: names, shapes and numbers, and nothing in the file that could be executed.

The best epoch's weights are kept while a model is trained for use, in one file for each epoch that was the best so far.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from scalecore.api.errors import DataError, StudyError
from scalecore.api.files import replacing
from scalecore.api.training import TrainingMonitor
from scalecore_torch.training.training_loop import TrainingLoop


def save_weights(path: Path, module: nn.Module) -> None:
    """Write all parameters and buffers as `path`, whole or not at all, and flushed to the disk."""
    # Tensors that share memory are refused by the format: each gets its own. No other is copied: beside the gradients,
    # which are still there at the end of an epoch, a second set of weights would be the peak of a large model.
    tensors: dict[str, Tensor] = {}
    taken: set[int] = set()
    for name, tensor in module.state_dict().items():
        own = tensor.detach().cpu().contiguous()
        tensors[name] = own.clone() if own.untyped_storage().data_ptr() in taken else own
        taken.add(own.untyped_storage().data_ptr())
    with replacing(path) as temporary:
        save_file(tensors, temporary)


def load_weights(path: Path, module: nn.Module) -> None:
    """Put the weights of `path` into `module`; a `DataError` where the file is not a whole one of this model."""
    try:
        module.load_state_dict(load_file(path))
    except (OSError, SafetensorError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise DataError(f"{path}: these are not the weights of the model: {reason}") from None


class KeepBest:
    """Stands between trainer and monitor, and keeps the weights of the best epoch so far in the attempt's folder.

    `earlier` are the folders of the attempts that this one goes on from, newest first. A file is deleted when no
    checkpoint that a continuation may fall back on, the newest and the one before, has its epoch as the best.
    """

    def __init__(
        self, monitor: TrainingMonitor, trainer: TrainingLoop, *, folder: Path, earlier: Sequence[Path]
    ) -> None:
        self._monitor = monitor
        self._trainer = trainer
        self._folder = folder
        self._earlier = earlier
        self._needed: list[int | None] = []
        """Best epoch at each of the last two checkpoints; None before the first epoch."""

    def step(self, *, epoch: int, step: int, phase: str) -> Literal["go_on", "stop", "prune"]:
        return self._monitor.step(epoch=epoch, step=step, phase=phase)

    def epoch(self, line: Mapping[str, Any]) -> None:
        """Called at the end of an epoch, when the weights are still those that were evaluated."""
        if line["epoch"] == self._best():
            save_weights(self._folder / _name(line["epoch"]), self._trainer.module)
        self._monitor.epoch(line)

    def checkpoint(self, state: dict[str, Any]) -> None:
        seal = self._folder / "checkpoint.json"
        before = seal.stat().st_mtime_ns if seal.exists() else None
        self._monitor.checkpoint(state)
        if not seal.exists() or seal.stat().st_mtime_ns == before:
            return  # it could not be written: the older ones are still what a continuation has
        self._needed = [*self._needed[-1:], self._best()]
        if len(self._needed) == 2:
            kept = {_name(epoch) for epoch in self._needed if epoch is not None}
            for path in self._folder.glob(_name("*")):
                if path.name not in kept:
                    path.unlink()

    def path(self) -> Path | None:
        """The file with the weights of the best epoch; None before the first.

        Raises `StudyError` where it is gone.
        """
        best = self._best()
        if best is None:
            return None
        for folder in (self._folder, *self._earlier):
            if (folder / _name(best)).is_file():
                return folder / _name(best)
        raise StudyError(f"the weights of the best epoch, {best}, are gone from {self._folder.parent}")

    def _best(self) -> int | None:
        best = self._trainer.progress.best
        return None if best is None else int(best["epoch"])


def _name(epoch: int | str) -> str:
    return f"best_{epoch}.safetensors"
