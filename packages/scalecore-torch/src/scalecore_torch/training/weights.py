"""Stores weights as safetensors files, which contain no executable code.

While a model is retrained, each epoch that is the best so far has its weights in a file.
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
    """Write all parameters and buffers to `path` atomically and flush them to disk."""
    # The format refuses tensors that share memory, so these are copied. No others are: with the gradients, which still
    # exist at the end of an epoch, a second set of weights would raise a large model's peak memory.
    tensors: dict[str, Tensor] = {}
    taken: set[int] = set()
    for name, tensor in module.state_dict().items():
        own = tensor.detach().cpu().contiguous()
        tensors[name] = own.clone() if own.untyped_storage().data_ptr() in taken else own
        taken.add(own.untyped_storage().data_ptr())
    with replacing(path) as temporary:
        save_file(tensors, temporary)


def load_weights(path: Path, module: nn.Module) -> None:
    """Load the weights in `path` into `module`. Raises `DataError` if the file is damaged or of another model."""
    try:
        module.load_state_dict(load_file(path))
    except (OSError, SafetensorError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise DataError(f"{path}: these are not the weights of the model: {reason}") from None


class KeepBest:
    """Wraps the monitor and stores the weights of the best epoch so far in the attempt's folder.

    `earlier` are the folders of the attempts that this one resumes, newest first. A file is deleted once its epoch is
    no longer the best one in either of the last two checkpoints, which a resumed attempt may load.
    """

    def __init__(
        self, monitor: TrainingMonitor, trainer: TrainingLoop, *, folder: Path, earlier: Sequence[Path]
    ) -> None:
        self._monitor = monitor
        self._trainer = trainer
        self._folder = folder
        self._earlier = earlier
        self._needed: list[int | None] = []
        """Best epoch in each of the last two checkpoints; None before the first epoch."""

    def step(self, *, epoch: int, step: int, phase: str) -> Literal["go_on", "stop", "prune"]:
        return self._monitor.step(epoch=epoch, step=step, phase=phase)

    def epoch(self, line: Mapping[str, Any]) -> None:
        """Store the weights at the end of an epoch, while they are still the evaluated ones."""
        if line["epoch"] == self._best():
            save_weights(self._folder / _name(line["epoch"]), self._trainer.module)
        self._monitor.epoch(line)

    def checkpoint(self, state: dict[str, Any]) -> None:
        seal = self._folder / "checkpoint.json"
        before = seal.stat().st_mtime_ns if seal.exists() else None
        self._monitor.checkpoint(state)
        if not seal.exists() or seal.stat().st_mtime_ns == before:
            return  # it could not be written: a resumed attempt loads the older ones
        self._needed = [*self._needed[-1:], self._best()]
        if len(self._needed) == 2:
            kept = {_name(epoch) for epoch in self._needed if epoch is not None}
            for path in self._folder.glob(_name("*")):
                if path.name not in kept:
                    path.unlink()

    def path(self) -> Path | None:
        """The file with the weights of the best epoch; None before the first.

        Raises `StudyError` if it is missing.
        """
        best = self._best()
        if best is None:
            return None
        for folder in (self._folder, *self._earlier):
            if (folder / _name(best)).is_file():
                return folder / _name(best)
        raise StudyError(f"the weights of the best epoch, {best}, are missing in {self._folder.parent}")

    def _best(self) -> int | None:
        best = self._trainer.progress.best
        return None if best is None else int(best["epoch"])


def _name(epoch: int | str) -> str:
    return f"best_{epoch}.safetensors"
