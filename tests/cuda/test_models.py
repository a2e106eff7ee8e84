"""Steps of other models than PatchTST with other losses, on a simulated GPU."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from attrs import evolve
from torch import Tensor, nn

from scalecore.api.data_report import TargetScale
from scalecore.execution.hyperparameters import Hyperparameters
from scalecore_torch.compute_policy import settle
from scalecore_torch.testing.training import make_attempt_spec, make_training_plan
from scalecore_torch.training.tasks import task_named
from scalecore_torch.training.training_loop import TrainingLoop

from .counting import counting, fake_cuda
from .training import CONTEXT, FEATURES, windows


class Encoder(nn.Module):
    """Layers of torch, which use the weights of linear layers directly."""

    def __init__(self, outputs: int, *, norm_first: bool) -> None:
        super().__init__()
        layers = (nn.TransformerEncoderLayer(64, 4, 128, 0.0, batch_first=True, norm_first=norm_first) for _ in "12")
        self.layers = nn.Sequential(nn.Linear(FEATURES, 64), *layers)
        self.head = nn.Linear(64, outputs)

    def forward(self, x_BTF: Tensor) -> Tensor:
        logits_BC: Tensor = self.head(self.layers(x_BTF).mean(1))
        return logits_BC


class Convolution(nn.Module):
    """A layer with running statistics, which a step may have to restore."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv1d(FEATURES, 16, 3), nn.BatchNorm1d(16), nn.ReLU())
        self.head = nn.Linear(16, outputs)

    def forward(self, x_BTF: Tensor) -> Tensor:
        logits_BC: Tensor = self.head(self.layers(x_BTF.transpose(1, 2)).mean(2))
        return logits_BC


MODELS: Mapping[str, Callable[[int], nn.Module]] = {
    "linear": lambda outputs: nn.Sequential(nn.Flatten(), nn.Linear(CONTEXT * FEATURES, outputs)),
    "encoder, norm last": lambda outputs: Encoder(outputs, norm_first=False),
    "encoder, norm first": lambda outputs: Encoder(outputs, norm_first=True),
    "convolution": Convolution,
}
LOSSES: Mapping[str, tuple[str, Mapping[str, Any], int]] = {
    "soft AUC": ("binary", {"kind": "soft_auc", "bce_share": 0.3}, 1),
    "weighted": ("multiclass", {"kind": "cross_entropy", "class_weights": [1.0, 2.0, 3.0], "label_smoothing": 0.1}, 3),
    "focal": ("multiclass", {"kind": "focal", "gamma": 0.5, "class_weights": [1.0, 2.0, 3.0]}, 3),
    "quantiles": ("forecast", {"kind": "quantile", "quantiles": [0.1, 0.5, 0.9]}, 3),
}
COMPUTED: Mapping[str, Mapping[str, Any]] = {
    "few launches, no clipping": {"precision": "bf16", "launches": "few", "gradient_clip": None},
    "auto, clipping": {"precision": "auto", "launches": "plain", "gradient_clip": 1.0},
    "float32, less data than a micro-batch": {"precision": "fp32", "launches": "plain", "gradient_clip": None},
}


def waits(model: str, loss: str, computed: str) -> tuple[list[str], int]:
    """Waits of a step after the first, and the number of windows evaluated afterwards, by the policy and in TF32."""
    task, settings, outputs = LOSSES[loss]
    few = computed.startswith("float32")
    with fake_cuda():
        with torch.device("cuda"):
            module = MODELS[model](outputs)
        scale = TargetScale(mean=0.0, std=2.0) if task == "forecast" else None
        trainer = TrainingLoop(
            module=module,
            task=task_named(task, settings),
            plan=make_training_plan(
                effective_batch=128 if few else 100,
                micro_batch=128 if few else 30,
                schedule="cosine",
                gradient_clip=COMPUTED[computed]["gradient_clip"],
            ),
            hyperparameters=Hyperparameters(
                {"learning_rate": 1e-3, "weight_decay": 0.1, "warmup_steps": 1, "epochs": 2}
            ),
            train=windows(40 if few else 250, scale=scale),
            validation=windows(70, scale=scale),
        )
        trainer.policy = settle(
            make_attempt_spec(precision=COMPUTED[computed]["precision"], launches=COMPUTED[computed]["launches"]),
            trainer,
        )
        trainer.optimizer_step()
        trainer.progress.step %= trainer.steps_per_epoch
        with counting() as counts:
            trainer.optimizer_step()
        trainer.evaluate(trainer.validation, limit=10)
        trainer.policy = evolve(trainer.policy, evaluation="tf32")
        *_, logits_NC = trainer.evaluate(trainer.validation)
        trainer.state()
    return counts.waits, len(logits_NC)


@pytest.mark.parametrize("computed", COMPUTED)
@pytest.mark.parametrize(("model", "loss"), list(zip(MODELS, LOSSES, strict=True)))
def test_no_step_of_another_model_waits_for_the_gpu(
    on_cuda: Callable[..., Any], model: str, loss: str, computed: str
) -> None:
    """Training and evaluation have no errors of devices or types either."""
    assert on_cuda(waits, model, loss, computed) == ([], 70)
