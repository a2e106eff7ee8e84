"""Trainers of PatchTST on fake CUDA tensors, as an attempt builds them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from scalecore.api.data_report import TargetScale
from scalecore.execution.attempt_spec import ModelSpec
from scalecore_torch.building import build_trainer
from scalecore_torch.testing.training import make_attempt_spec, make_training_plan
from scalecore_torch.training.policies import Policy
from scalecore_torch.training.training_loop import TrainingLoop
from scalecore_torch.training.windows import WindowSource, _Rows
from scalecore_torch.user_code import UserCode

__all__ = ["SHAPES", "trainer"]

CONTEXT, FEATURES = 60, 25

SHAPES: Mapping[str, Mapping[str, int]] = {
    "2M": {"d_model": 64, "n_layers": 48, "n_heads": 2, "d_ff": 256},
    "20M": {"d_model": 256, "n_layers": 24, "n_heads": 8, "d_ff": 1024},
    "200M": {"d_model": 768, "n_layers": 28, "n_heads": 12, "d_ff": 3072},
}
"""Shapes by parameter count, as in `benchmarks/gpu.py`."""


def windows(count: int, *, scale: TargetScale | None) -> WindowSource:
    """A real source of windows over rows without values."""
    rows = _Rows(
        values=torch.zeros(count + CONTEXT - 1, FEATURES, device="cuda"),
        labels=torch.zeros(count + CONTEXT - 1, device="cuda"),
        context=CONTEXT,
        scale=scale,
    )
    return WindowSource(rows, torch.arange(CONTEXT - 1, count + CONTEXT - 1, device="cuda"))


def trainer(
    shape: str = "20M",
    *,
    precision: str = "bf16",
    task: str = "binary",
    layers: int | None = None,
    steps: int = 4,
    effective_batch: int = 256,
    micro_batch: int = 256,
    dropout: float = 0.2,
    checkpointing: bool = False,
    gradient_clip: float | None = 1.0,
    options: Mapping[str, Any] | None = None,
    own: UserCode | None = None,
    **plan: Any,
) -> TrainingLoop:
    """A trainer with `steps` steps an epoch, under `fake_cuda`; `layers` replaces the shape's number."""
    from scalecore.api.space import DataShape
    from scalecore.plugins.registry import load_registry
    from scalecore_torch.hyperparameters import CORE_HYPERPARAMETERS

    architecture = {**SHAPES[shape], **({} if layers is None else {"n_layers": layers})}
    outputs = 3 if task == "multiclass" else 1
    data = DataShape(context=CONTEXT, features=FEATURES, outputs=outputs)
    registry: dict[str, Any] = {"no_plugins": False, "block": []}
    record = load_registry(**registry).default("model", "patchtst").record
    family: Any = record.factory(record.options(**(options or {})))
    values = {one.name: one.default for one in (*CORE_HYPERPARAMETERS, *family.hyperparameters())}
    how = {"micro_batch": micro_batch, "schedule": "cosine", "gradient_clip": gradient_clip, "seed": 1, **plan}
    spec = make_attempt_spec(
        seed=1,
        hyperparameters={**values, "epochs": 2, "dropout": dropout},
        registry=registry,
        model=ModelSpec(use="patchtst", options=dict(options or {})),
        architecture=architecture,
        num_parameters=family.num_parameters(architecture, data),
        shape=data,
        task=task,
        activation_checkpointing=checkpointing,
        own=own,
        plan=make_training_plan(effective_batch, **how),
    )
    scale = TargetScale(mean=0.0, std=2.0) if task == "forecast" else None
    sources = {"train": windows(steps * effective_batch, scale=scale), "val": windows(1000, scale=scale)}
    with torch.device("cuda"):  # fake parameters cannot be moved, so the module is created on its device
        made, _ = build_trainer(spec, device=torch.device("cuda"), windows=sources)
    made.policy = Policy(precision=precision, why={})  # type: ignore[arg-type]
    return made
