"""A tiny prepared data set, and a builder of training loops on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from scalecore.api.dataset_options import Split, TargetOptions
from scalecore.api.panel import Panel
from scalecore.api.targets import labels, target_of
from scalecore.data.prepare import prepare
from scalecore.execution.hyperparameters import Hyperparameters
from scalecore_torch.testing.training import make_training_plan
from scalecore_torch.training.tasks import task_named
from scalecore_torch.training.training_loop import TrainingLoop
from scalecore_torch.training.windows import open_windows

torch.set_num_threads(1)

ROWS, CONTEXT = 700, 6


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared data set: a random walk with its direction as target."""
    generator = np.random.default_rng(7)
    close = np.exp(np.cumsum(generator.normal(0, 0.01, ROWS)))
    target = target_of(TargetOptions(kind="direction"))
    panel = Panel(
        name="walk",
        times=np.datetime64("2000-01-03") + np.arange(ROWS).astype("timedelta64[D]"),
        values=np.column_stack([close, generator.normal(size=ROWS), generator.normal(size=ROWS)]),
        labels=labels(target, close=close, price=close),
        features=("Close", "a", "b"),
        target=target,
        context=CONTEXT,
        split=Split(),
        normalise="standard",
    )
    folder = tmp_path_factory.mktemp("prepared") / "data"
    prepare(panel, folder, min_validation_samples=20, min_validation_positives=5)
    return folder


class Net(nn.Module):
    """A small network with dropout, so that its training uses random numbers."""

    def __init__(self, *, dropout: float = 0.2) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(), nn.Linear(3 * CONTEXT, 16), nn.LayerNorm(16), nn.GELU(), nn.Dropout(dropout), nn.Linear(16, 1)
        )

    def forward(self, x_BTF: torch.Tensor) -> torch.Tensor:
        return self.layers(x_BTF)


class Failing(nn.Module):
    """One weight on the feature `feature`; from its call number `call` on (counted from 1), outputs are multiplied by
    `factor`."""

    def __init__(self, *, call: int, factor: float, feature: int = 0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.calls, self.call, self.factor, self.feature = 0, call, factor, feature

    def forward(self, x_BTF: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return self.weight * x_BTF[:, 0, self.feature, None] * (1.0 if self.calls < self.call else self.factor)


@pytest.fixture
def trainer_of(prepared: Path) -> Callable[..., TrainingLoop]:
    """Build a training loop; keyword arguments change the plan or the hyper-parameters."""

    def build(
        module: nn.Module | None = None,
        *,
        hyperparameters: Mapping[str, Any] | None = None,
        loss: Mapping[str, Any] | None = None,
        **plan: Any,
    ) -> TrainingLoop:
        torch.manual_seed(3)
        values = {
            "learning_rate": 1e-2,
            "weight_decay": 1e-2,
            "warmup_steps": 3,
            "epochs": 4,
            **(hyperparameters or {}),
        }
        windows = open_windows(prepared)
        return TrainingLoop(
            module=module or Net(),
            task=task_named("binary", loss),
            plan=make_training_plan(**{"schedule": "cosine", "seed": 11, **plan}),
            hyperparameters=Hyperparameters(values),
            train=windows["train"],
            validation=windows["val"],
        )

    return build
