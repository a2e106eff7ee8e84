"""Sizes counted on the meta device equal torch's counts for real modules."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
import torch
from attrs import define
from torch import nn

from scalecore.api.model import HyperparameterReader
from scalecore.api.space import ArchitectureSpace, DataShape, Hyperparameter
from scalecore_torch.training.counting import count, count_activations, count_flops, count_parameters, plain_kernels

DATA = DataShape(context=11, features=3, outputs=2)


@define
class Family:
    """A family with the same module for every shape."""

    make: Callable[[], nn.Module]

    def hyperparameters(self) -> Sequence[Hyperparameter]:
        return ()

    def architecture_space(self, data: DataShape) -> ArchitectureSpace:
        return ArchitectureSpace(dimensions={"size": (1,)}, architectures=({"size": 1},))

    def build(self, architecture: Mapping[str, int], hyperparameters: HyperparameterReader, data: DataShape) -> Any:
        return self.make()


class LastStep(nn.Module):
    """Recurrent layers, and a linear layer on their output for the last time step."""

    def __init__(self, kind: Any, *, batch_first: bool = True, **options: Any) -> None:
        super().__init__()
        self.batch_first = batch_first
        self.layers = kind(DATA.features, 6, batch_first=batch_first, **options)
        width = (options.get("proj_size") or 6) * (2 if options.get("bidirectional") else 1)
        self.head = nn.Linear(width, DATA.outputs)

    def forward(self, x_BTF: torch.Tensor) -> torch.Tensor:
        out, _ = self.layers(x_BTF if self.batch_first else x_BTF.transpose(0, 1))
        logits: torch.Tensor = self.head(out[:, -1] if self.batch_first else out[-1])
        return logits


class Convolution(nn.Module):
    """A model with batch normalisation, which fails for a single window in training."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv1d(3, 8, 3), nn.ReLU(), nn.BatchNorm1d(8), nn.AdaptiveAvgPool1d(1))
        self.head = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(8), nn.Linear(8, DATA.outputs))

    def forward(self, x_BTF: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.layers(x_BTF.transpose(1, 2)))
        return logits


class Transformer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(3, 8)
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(8, DATA.outputs)

    def forward(self, x_BTF: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.layers(self.embed(x_BTF)).mean(1))
        return logits


class Looking(LastStep):
    """A model with a condition on a value, which the meta device does not have."""

    def forward(self, x_BTF: torch.Tensor) -> torch.Tensor:
        return super().forward(x_BTF if float(x_BTF.sum()) == 0.0 else -x_BTF)


MODULES: dict[str, Callable[[], nn.Module]] = {
    "lstm": lambda: LastStep(nn.LSTM),
    "deep lstm": lambda: LastStep(nn.LSTM, num_layers=3, dropout=0.2),
    "lstm both ways": lambda: LastStep(nn.LSTM, num_layers=2, bidirectional=True),
    "lstm with projections": lambda: LastStep(nn.LSTM, num_layers=2, proj_size=4),
    "lstm, time first": lambda: LastStep(nn.LSTM, batch_first=False),
    "gru": lambda: LastStep(nn.GRU, num_layers=2, bias=False),
    "gru both ways": lambda: LastStep(nn.GRU, bidirectional=True),
    "rnn": lambda: LastStep(nn.RNN, num_layers=2, nonlinearity="relu"),
    "convolution": Convolution,
    "transformer": Transformer,
    "by its values": lambda: Looking(nn.LSTM),
}


@pytest.mark.parametrize("name", MODULES)
def test_g04_counts_without_values_match_the_real_module(name: str) -> None:
    """Parameters and FLOPs are exact; kept numbers are within a tenth."""
    found = count(Family(MODULES[name]), {"size": 1}, DATA)
    module, x_BTF = MODULES[name]().train(), torch.zeros(2, DATA.context, DATA.features)
    with plain_kernels():
        flops = count_flops(lambda: module(x_BTF)) // 2
        kept = count_activations(module, lambda: module(x_BTF)) / 2
    assert (found["num_parameters"], found["flops"]) == (count_parameters(module), flops)
    assert found["saved_activations"] == pytest.approx(kept, rel=0.1)


def test_counting_restores_the_layers() -> None:
    """The replacement of a recurrent layer is removed after the count."""
    module = LastStep(nn.LSTM)
    count(Family(lambda: module), {"size": 1}, DATA)
    assert "forward" not in vars(module.layers)
    assert module(torch.zeros(1, DATA.context, DATA.features)).shape == (1, DATA.outputs)


def test_parameters_alone_need_no_forward_pass() -> None:
    """Shared parameters count once, frozen ones not."""

    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(4, 4, bias=False)
            self.again = self.first
            self.frozen = nn.Linear(4, 4).requires_grad_(False)

    assert count(Family(Odd), {"size": 1}, DATA, forward=False) == {"num_parameters": 16}


def test_a_failing_build_raises_its_error() -> None:
    """It is tried on the meta device and on the CPU."""

    def broken() -> nn.Module:
        raise KeyError("width")

    with pytest.raises(KeyError, match="width"):
        count(Family(broken), {"size": 1}, DATA)
