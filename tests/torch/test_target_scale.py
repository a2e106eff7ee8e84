"""Forecasts are trained on standardised targets and reported in the target's unit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from scalecore.api.dataset_options import Split
from scalecore.api.errors import RefusedError
from scalecore.api.panel import Panel
from scalecore.api.targets import label_target
from scalecore.data.folder import read_description
from scalecore.data.prepare import prepare
from scalecore.execution.hyperparameters import Hyperparameters
from scalecore_torch.attempt import smoke
from scalecore_torch.loss_options import MeanAbsolute, MeanSquared, Quantile, settled
from scalecore_torch.testing.training import make_training_plan
from scalecore_torch.training.best_predictions import best_predictions
from scalecore_torch.training.intervals import metric_intervals
from scalecore_torch.training.output_checks import removes_level
from scalecore_torch.training.tasks import task_named
from scalecore_torch.training.training_loop import TrainingLoop
from scalecore_torch.training.windows import open_windows

ROWS, CONTEXT = 500, 5
LOSSES = {"mse": MeanSquared(), "mae": MeanAbsolute(), "quantile": Quantile()}
UNITS = {
    "x1000": (1000.0, 0.0),
    "level": (1.0, 40_000.0),
    "both": (1000.0, 40_000.0),
    "below zero": (0.01, -7.0),
    "returns": (1e-6, 0.0),
}


class Silent:
    """A monitor that never interferes."""

    def step(self, **_: Any) -> str:
        return "go_on"

    def epoch(self, line: Any) -> None: ...

    def checkpoint(self, state: Any) -> None: ...


def folder_of(path: Path, *, times: float, plus: float, raw: bool = False) -> Path:
    """A noisy wave with its next value as target, in another unit."""
    generator = np.random.default_rng(5)
    wave = np.sin(np.arange(ROWS + 1) / 9) + 0.1 * generator.normal(size=ROWS + 1)
    labels = times * wave[1:] + plus
    panel = Panel(
        name="wave",
        times=np.datetime64("2000-01-03") + np.arange(ROWS).astype("timedelta64[D]"),
        values=np.column_stack([wave[:-1], generator.normal(size=ROWS)]),
        labels=labels,
        features=("wave", "noise"),
        target=label_target(labels, column="y", horizon=1, task="forecast"),
        context=CONTEXT,
        split=Split(),
        normalise="standard",
    )
    prepare(panel, path, min_validation_samples=20, raw_target=raw)
    return path


def trained(folder: Path, loss: str = "mse", *, rate: float = 1e-2) -> TrainingLoop:
    """A small network after three epochs."""
    torch.manual_seed(3)
    outputs = 3 if loss == "quantile" else 1
    module = nn.Sequential(nn.Flatten(), nn.Linear(2 * CONTEXT, 8), nn.GELU(), nn.Linear(8, outputs))
    trainer, _ = trainer_of(folder, module, loss=loss, rate=rate)
    assert trainer.run(Silent()) == "completed"  # type: ignore[arg-type]
    return trainer


def trainer_of(folder: Path, module: nn.Module, *, loss: str, rate: float) -> tuple[TrainingLoop, Hyperparameters]:
    settings = settled(LOSSES[loss], task="forecast", counts=())
    values = Hyperparameters({"learning_rate": rate, "weight_decay": 0.0, "warmup_steps": 0, "epochs": 3})
    windows = open_windows(folder)
    trainer = TrainingLoop(
        module=module,
        task=task_named("forecast", settings),
        plan=make_training_plan(seed=11),
        hyperparameters=values,
        train=windows["train"],
        validation=windows["val"],
    )
    return trainer, values


@pytest.fixture
def folder(tmp_path: Path) -> Callable[..., Path]:
    def make(unit: str = "as it is", **how: Any) -> Path:
        times, plus = UNITS.get(unit, (1.0, 0.0))
        path = tmp_path / unit.replace(" ", "_")
        return folder_of(path, times=times, plus=plus, **how) if not path.exists() else path

    return make


@pytest.mark.parametrize("loss", list(LOSSES))
@pytest.mark.parametrize("unit", list(UNITS))
def test_g57_a_forecast_is_the_same_in_every_unit(folder: Callable[..., Path], unit: str, loss: str) -> None:
    """Squared losses scale with the square of the factor, absolute and pinball losses with the factor; a level changes
    neither."""
    factor = UNITS[unit][0]
    before, after = trained(folder(), loss), trained(folder(unit), loss)
    powers = {"val_loss": 2, "mae": 1, "rmse": 1, "r2": 0, "pinball": 1, "coverage": 0, "gradient_norm": 0}
    powers |= dict.fromkeys(("train_loss", "val_training_loss"), 2 if loss == "mse" else 1)
    for was, now in zip(before.progress.curve, after.progress.curve, strict=True):
        for name in powers.keys() & was.keys():
            assert now[name] == pytest.approx(was[name] * factor ** powers[name], rel=1e-4), name


@pytest.mark.parametrize("loss", list(LOSSES))
def test_g57_a_factor_of_two_changes_no_bit(tmp_path: Path, loss: str) -> None:
    """With the target times 1024, weights are equal, and losses are multiplied by 1024 or its square, bit for bit."""
    before = trained(folder_of(tmp_path / "one", times=1.0, plus=0.0), loss)
    after = trained(folder_of(tmp_path / "kilo", times=1024.0, plus=0.0), loss)
    for name, tensor in before.module.state_dict().items():
        assert torch.equal(tensor, after.module.state_dict()[name])
    for was, now in zip(before.progress.curve, after.progress.curve, strict=True):
        assert now["val_loss"] == was["val_loss"] * 1024**2
        assert now["train_loss"] == was["train_loss"] * 1024 ** (2 if loss == "mse" else 1)
        assert now["mae"] == was["mae"] * 1024


def test_g57_trials_rank_alike_in_every_unit(folder: Callable[..., Path]) -> None:
    """Trials differ in the learning rate, from one too small to learn to a good one."""
    rates = (1e-5, 1e-3, 1e-2, 3e-2)
    units = ("as it is", *UNITS)
    values = {unit: [trained(folder(unit), rate=rate).value() or 0.0 for rate in rates] for unit in units}
    order = np.argsort(values["as it is"])
    assert len(set(values["as it is"])) == len(rates)
    for unit in UNITS:
        assert np.array_equal(np.argsort(values[unit]), order), unit


def test_g57_a_level_of_forty_thousand_is_learned(folder: Callable[..., Path]) -> None:
    """In the target's unit it was out of reach: version 0.1 had 1,559 times the baseline's loss, without a warning."""
    scaled, raw = folder("both"), folder_of(folder().parent / "raw", times=1000.0, plus=40_000.0, raw=True)
    prior = read_description(scaled).parts["val"].prior_loss
    assert prior == pytest.approx(read_description(raw).parts["val"].prior_loss)
    assert (trained(scaled, rate=3e-2).value() or 0.0) < 0.5 * prior
    assert (trained(raw, rate=3e-2).value() or 0.0) > 1000 * prior


@pytest.mark.parametrize("loss", list(LOSSES))
def test_g57_predictions_and_intervals_are_in_the_targets_unit(folder: Callable[..., Path], loss: str) -> None:
    """The stored outputs of the best epoch have the reported loss, with labels in the data's unit."""
    path = folder("both")
    trainer = trained(path, loss)
    best = trainer.progress.best
    found = best_predictions(trainer, path)
    assert best is not None
    assert found is not None
    assert trainer.best_logits_NC is not None
    assert 39_000 < found.labels.mean() < 41_000
    assert 38_000 < found.outputs[:, found.about["point"]].mean() < 42_000
    assert found.losses().mean() == pytest.approx(best["val_loss"], rel=1e-12)
    assert best["predictions"]["mean"] == pytest.approx(found.outputs[:, found.about["point"]].mean())
    intervals, _ = metric_intervals(trainer.task, trainer.best_logits_NC, trainer.validation.labels, overlap=1)
    for name in ("val_loss", "mae", "rmse"):
        assert intervals[name]["low"] < best[name] < intervals[name]["high"]


def test_g57_an_older_study_trains_as_before(folder: Callable[..., Path]) -> None:
    """Without a scale, labels, outputs and fingerprint (as recorded with version 0.1) do not change."""
    path = folder("x1000", raw=True)
    description = read_description(path)
    windows = open_windows(path)["train"]
    assert description.target_scale is None
    assert windows.scale is None
    assert windows.labels.dtype == torch.float32
    assert float(windows.labels.std()) > 500
    outputs = torch.ones(2, 1)
    assert windows.in_unit(outputs) is outputs
    assert description.fingerprint == "34aaa384c7004ed36364215e38969078f52857396263afe16362e6175518b0f2"


def test_g57_a_trial_that_is_resumed_ends_the_same(folder: Callable[..., Path]) -> None:
    """The checkpoint contains the best epoch's outputs in the target's unit."""
    path = folder("both")
    whole = trained(path)
    again = trained(path)
    again.restore(whole.state())
    found = best_predictions(again, path)
    assert found is not None
    assert np.array_equal(found.outputs, whole.best_logits_NC.numpy())


class Normalising(nn.Module):
    """A model that removes the mean of each feature in its window, and with `back` adds the first feature's mean to the
    output."""

    def __init__(self, *, back: bool) -> None:
        super().__init__()
        self.linear, self.back = nn.Linear(2 * CONTEXT, 1), back

    def forward(self, x_BTF: torch.Tensor) -> torch.Tensor:
        mean_B1F = x_BTF.mean(1, keepdim=True)
        outputs_B1: torch.Tensor = self.linear((x_BTF - mean_B1F).flatten(1))
        return outputs_B1 + mean_B1F[:, :, 0] if self.back else outputs_B1


def test_g57_a_model_that_loses_the_level_is_detected() -> None:
    """The check compares outputs for the same windows at another level; a model that restores or uses the level
    passes."""
    torch.manual_seed(0)
    x_BTF = torch.randn(16, CONTEXT, 2)
    assert removes_level(Normalising(back=False), x_BTF)
    assert not removes_level(Normalising(back=True), x_BTF)
    assert not removes_level(nn.Sequential(nn.Flatten(), nn.Linear(2 * CONTEXT, 1)), x_BTF)
    assert not removes_level(nn.Sequential(nn.LayerNorm(2), nn.Flatten(), nn.Linear(2 * CONTEXT, 1)), x_BTF)


def test_g57_the_smoke_step_refuses_a_forecast_that_loses_the_level(folder: Callable[..., Path]) -> None:
    """The family's declaration does not matter; an older study without a target scale is not refused."""
    trainer, values = trainer_of(folder(), Normalising(back=False), loss="mse", rate=1e-2)
    with pytest.raises(RefusedError) as caught:
        smoke(trainer, values, sampled=[], outputs=1)
    assert str(caught.value) == (
        "the model removes the level of each window and does not restore it: its outputs do not change when all "
        "values of a feature increase by the same amount, so it cannot forecast a level; add the removed level to "
        "the outputs [G57]"
    )
    for path, back in ((folder(), True), (folder("x1000", raw=True), False)):
        trainer, values = trainer_of(path, Normalising(back=back), loss="mse", rate=1e-2)
        assert smoke(trainer, values, sampled=[], outputs=1)["state"] == "completed"
