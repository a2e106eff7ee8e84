"""Tests that need an NVIDIA GPU: `pytest tests/gpu`, under 90 seconds on one.

Without a GPU they are skipped. With SCALECORE_GPU_TESTS_DEVICE=cpu the same code runs on the CPU: this rehearsal checks
the tests, not a GPU, and skips tests that only a GPU can run.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from scalecore.api.dataset_options import Split, TargetOptions
from scalecore.api.panel import Panel
from scalecore.api.targets import labels, target_of
from scalecore.data.prepare import prepare
from scalecore.execution.hyperparameters import Hyperparameters
from scalecore_torch.testing.training import make_training_plan
from scalecore_torch.training.policies import Policy
from scalecore_torch.training.tasks import task_named
from scalecore_torch.training.training_loop import TrainingLoop
from scalecore_torch.training.windows import open_windows

HERE = Path(__file__).parent
VARIABLE = "SCALECORE_GPU_TESTS_DEVICE"
DEVICE = os.environ.get(VARIABLE, "cuda")
ROWS, FEATURES, CONTEXT = 1500, 5, 24


def pytest_report_header() -> str:
    """Report whether this is a run on a GPU or a rehearsal."""
    if DEVICE != "cuda":
        return f"tests/gpu: rehearsed on {DEVICE} ({VARIABLE}), which says nothing about a GPU"
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return f"tests/gpu: {name}, torch {torch.__version__}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip tests that this machine cannot run, with the reason."""
    own = [item for item in items if HERE in item.path.parents]
    if DEVICE == "cuda" and not torch.cuda.is_available():
        missing = "built without CUDA" if torch.version.cuda is None else "finds no NVIDIA GPU"
        reason = f"needs an NVIDIA GPU: torch {torch.__version__} {missing}; {VARIABLE}=cpu rehearses on the CPU"
        for item in own:
            item.add_marker(pytest.mark.skip(reason=reason))
    elif DEVICE != "cuda":
        for item in own:
            if item.get_closest_marker("only_gpu"):
                item.add_marker(pytest.mark.skip(reason="only a GPU can answer this; not part of a rehearsal"))


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker of tests that need a GPU."""
    config.addinivalue_line("markers", "only_gpu: has no meaning on a CPU, not even as a rehearsal")


@pytest.fixture
def device() -> torch.device:
    """The device of the tests."""
    return torch.device(DEVICE)


@pytest.fixture(scope="session")
def prices() -> np.ndarray:
    """A random walk and noise, [rows, features]."""
    generator = np.random.default_rng(7)
    close = np.exp(np.cumsum(generator.normal(0, 0.01, ROWS)))
    return np.column_stack([close, generator.normal(size=(ROWS, FEATURES - 1))])


@pytest.fixture(scope="session")
def prepared(prices: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The prepared data of the walk; the target is its direction."""
    target = target_of(TargetOptions(kind="direction"))
    panel = Panel(
        name="walk",
        times=np.datetime64("2000-01-03") + np.arange(ROWS).astype("timedelta64[D]"),
        values=prices,
        labels=labels(target, close=prices[:, 0], price=prices[:, 0]),
        features=("Close", *(f"f{n}" for n in range(1, FEATURES))),
        target=target,
        context=CONTEXT,
        split=Split(),
        normalise="standard",
    )
    folder = tmp_path_factory.mktemp("prepared") / "data"
    prepare(panel, folder, min_validation_samples=20, min_validation_positives=5)
    return folder


def patchtst(*, dropout: float = 0.1, n_layers: int = 3) -> torch.nn.Module:
    """A PatchTST of about 150,000 parameters."""
    from scalecore_patchtst.model import PatchTST

    torch.manual_seed(3)
    return PatchTST(
        context=CONTEXT,
        features=FEATURES,
        outputs=1,
        patch_len=4,
        stride=4,
        revin=False,
        d_model=64,
        n_layers=n_layers,
        n_heads=4,
        d_ff=256,
        spare_positions=4,
        dropout=dropout,
        head_dropout=0.0,
    )


@pytest.fixture
def trainer_of(prepared: Path, device: torch.device) -> Callable[..., TrainingLoop]:
    """Build a trainer of a module on the device; keyword arguments change its plan."""

    def build(
        module: torch.nn.Module | None = None, *, policy: Policy | None = None, on: torch.device = device, **plan: Any
    ) -> TrainingLoop:
        windows = open_windows(prepared, device=on)
        values = {"learning_rate": 1e-3, "weight_decay": 1e-2, "warmup_steps": 3, "epochs": 3}
        torch.manual_seed(3)
        trainer = TrainingLoop(
            module=(patchtst() if module is None else module).to(on),
            task=task_named("binary", None),
            plan=make_training_plan(**{"schedule": "cosine", "seed": 11, **plan}),
            hyperparameters=Hyperparameters(values),
            train=windows["train"],
            validation=windows["val"],
        )
        trainer.policy = policy or Policy(why={})
        return trainer

    return build
