"""Families without closed forms pass the contract: recurrent, convolutional and attention layers of torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from scalecore.api.model import HyperparameterReader
from scalecore.api.space import ArchitectureSpace, DataShape, Hyperparameter
from scalecore_torch.testing import ModelContract


class Family:
    """A family with width and depth; its modules have a body, and a linear layer on the last time step."""

    def hyperparameters(self) -> Sequence[Hyperparameter]:
        return [Hyperparameter(name="dropout", default=0.1, low=0.0, high=0.9, help="Between layers.")]

    def architecture_space(self, data: DataShape) -> ArchitectureSpace:
        shapes = tuple({"width": width, "depth": depth} for width in (8, 16) for depth in (1, 2))
        return ArchitectureSpace(dimensions={"width": (8, 16), "depth": (1, 2)}, architectures=shapes)

    def build(self, architecture: Mapping[str, int], hyperparameters: HyperparameterReader, data: DataShape) -> Any:
        from torch import nn

        body = self.body(architecture["width"], architecture["depth"], data.features, hyperparameters["dropout"])

        class Network(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.body, self.head = body, nn.Linear(architecture["width"], data.outputs)

            def forward(self, x_BTF: Any) -> Any:
                out = self.body(x_BTF)
                return self.head((out[0] if isinstance(out, tuple) else out)[:, -1])

        return Network()

    def body(self, width: int, depth: int, features: int, dropout: float) -> Any:
        raise NotImplementedError


class Lstm(Family):
    def body(self, width: int, depth: int, features: int, dropout: float) -> Any:
        from torch import nn

        return nn.LSTM(features, width, depth, batch_first=True, dropout=dropout if depth > 1 else 0.0)


class Gru(Family):
    def body(self, width: int, depth: int, features: int, dropout: float) -> Any:
        from torch import nn

        return nn.GRU(features, width, depth, batch_first=True, dropout=dropout if depth > 1 else 0.0)


class Convolutional(Family):
    def body(self, width: int, depth: int, features: int, dropout: float) -> Any:
        from torch import nn

        class Turned(nn.Module):
            def __init__(self, inputs: int) -> None:
                super().__init__()
                self.layer = nn.Conv1d(inputs, width, 3, padding=1)

            def forward(self, x_BTF: Any) -> Any:
                return self.layer(x_BTF.transpose(1, 2)).transpose(1, 2).relu()

        layers = [Turned(width if at else features) for at in range(depth)]
        return nn.Sequential(*layers, nn.Dropout(dropout))


class Attending(Family):
    def body(self, width: int, depth: int, features: int, dropout: float) -> Any:
        from torch import nn

        layer = nn.TransformerEncoderLayer(width, 2, 2 * width, dropout, batch_first=True)
        return nn.Sequential(
            nn.Linear(features, width), nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)
        )


class TestLstm(ModelContract):
    @pytest.fixture
    def family(self) -> Lstm:
        return Lstm()


class TestGru(ModelContract):
    @pytest.fixture
    def family(self) -> Gru:
        return Gru()


class TestConvolutional(ModelContract):
    @pytest.fixture
    def family(self) -> Convolutional:
        return Convolutional()


class TestAttending(ModelContract):
    @pytest.fixture
    def family(self) -> Attending:
        return Attending()


class LstmInClosedForm(Lstm):
    """A family with the textbook formulas."""

    def num_parameters(self, architecture: Mapping[str, int], data: DataShape) -> int:
        width, depth = architecture["width"], architecture["depth"]
        inputs = data.features + (depth - 1) * width
        return 4 * width * (inputs + depth * (width + 2)) + (width + 1) * data.outputs

    def flops(self, architecture: Mapping[str, int], data: DataShape) -> int:
        width, depth = architecture["width"], architecture["depth"]
        inputs = data.features + (depth - 1) * width
        return 2 * (4 * width * (inputs + depth * width) * data.context + width * data.outputs)

    def saved_activations(self, architecture: Mapping[str, int], data: DataShape) -> int:
        return 8 * architecture["width"] * architecture["depth"] * data.context


class TestLstmInClosedForm(ModelContract):
    """A recurrent family may declare closed forms, and they are tested like any other."""

    @pytest.fixture
    def family(self) -> LstmInClosedForm:
        return LstmInClosedForm()
