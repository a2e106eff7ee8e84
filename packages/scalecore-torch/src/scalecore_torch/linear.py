"""Logistic regression on the whole window: a baseline for every network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from scalecore.api.model import HyperparameterReader
from scalecore.api.space import ArchitectureSpace, DataShape, Hyperparameter

if TYPE_CHECKING:
    import torch


class LinearFamily:
    """One architecture without dimensions: [batch, context, features], flattened, times one matrix.

    Weights start at zero, as is usual for logistic regression: the first prediction is the bias alone. With binary
    targets and the loss of the training core this is logistic regression; with `weight_decay` it is ridge-penalised.
    """

    def hyperparameters(self) -> Sequence[Hyperparameter]:
        return ()

    def architecture_space(self, data: DataShape) -> ArchitectureSpace:
        return ArchitectureSpace(dimensions={}, architectures=({},))

    def num_parameters(self, architecture: Mapping[str, int], data: DataShape) -> int:
        return data.context * data.features * data.outputs + data.outputs

    def flops(self, architecture: Mapping[str, int], data: DataShape) -> int:
        return 2 * data.context * data.features * data.outputs

    def saved_activations(self, architecture: Mapping[str, int], data: DataShape) -> int:
        return data.context * data.features

    def build(
        self, architecture: Mapping[str, int], hyperparameters: HyperparameterReader, data: DataShape
    ) -> torch.nn.Module:
        from torch import nn

        linear = nn.Linear(data.context * data.features, data.outputs)
        nn.init.zeros_(linear.weight)
        nn.init.zeros_(linear.bias)
        return nn.Sequential(nn.Flatten(), linear)
