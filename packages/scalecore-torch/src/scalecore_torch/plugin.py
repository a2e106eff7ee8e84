"""Registers the trainer `torch` and the baseline model through the public hooks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from scalecore.api.components import ModelRecord, NoOptions, TrainerRecord
from scalecore.api.hookspecs import hookimpl
from scalecore_torch.options import TorchOptions

if TYPE_CHECKING:
    from scalecore.api.model import ModelFamily
    from scalecore.api.trainer import Trainer


def _linear(options: NoOptions) -> ModelFamily:
    from scalecore_torch.linear import LinearFamily

    return LinearFamily()


def _torch(options: TorchOptions) -> Trainer:
    from scalecore_torch.component import TorchTrainer

    return TorchTrainer(options)


@hookimpl
def scalecore_models() -> Iterable[ModelRecord]:
    return [
        ModelRecord(name="linear", summary="Logistic regression on the whole window, the baseline.", factory=_linear)
    ]


@hookimpl
def scalecore_trainers() -> Iterable[TrainerRecord]:
    return [
        TrainerRecord(
            name="torch",
            summary="Supervised training in PyTorch, with a memory forecast.",
            options=TorchOptions,
            factory=_torch,
            worker="scalecore_torch.worker",
        )
    ]
