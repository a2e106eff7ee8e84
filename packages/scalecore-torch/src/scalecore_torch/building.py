"""Builds the model of a spec, checks its size, and builds its training loop."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from scalecore.api.errors import RefusedError
from scalecore.api.worker import Hyperparameters, build_family
from scalecore_torch.spec import ModelToBuild, TorchSpec
from scalecore_torch.training.blocks import checkpoint_blocks
from scalecore_torch.training.counting import count_parameters
from scalecore_torch.training.generators import seed_everything
from scalecore_torch.training.product_library import use_library
from scalecore_torch.training.tasks import task_named
from scalecore_torch.training.training_loop import TrainingLoop
from scalecore_torch.training.user_parts import user_parts
from scalecore_torch.training.windows import WindowSource, open_windows


def build_module(spec: ModelToBuild, hyperparameters: Hyperparameters) -> nn.Module:
    """Build the model with its initial weights.

    Raises `RefusedError` if the number of parameters is not the expected one (G04).
    """
    family = build_family(spec.model, registry=spec.registry)
    module: nn.Module = family.build(spec.architecture, hyperparameters, spec.shape)
    counted = count_parameters(module)
    if counted != spec.num_parameters:
        has = f"the built model {spec.model.use!r} has {counted:,} parameters"
        size, shape = f"{spec.num_parameters:,}", dict(spec.architecture)
        if hasattr(family, "num_parameters"):
            text = f"{has}, its formula returns {size} for {shape}: fix num_parameters() of the plugin"
        else:
            text = (
                f"{has}, and {size} with its hyper-parameters at their defaults, for {shape}: a parameter that "
                "changes the size must be a dimension of the architecture, not a hyper-parameter"
            )
        raise RefusedError(text, guard="G04")
    use_library(module, None if spec.products is None else spec.products.name)
    return module


def build_trainer(
    spec: TorchSpec, *, device: torch.device, windows: Mapping[str, WindowSource] | None = None
) -> tuple[TrainingLoop, Hyperparameters]:
    """Build the training loop of a spec, on its data or on `windows`. Raises like `build_module`."""
    seed_everything(spec.seed)
    hyperparameters = Hyperparameters(spec.hyperparameters)
    module = build_module(spec.to_build, hyperparameters)
    if spec.activation_checkpointing:
        checkpoint_blocks(module)
    if windows is None:
        windows = open_windows(Path(spec.data), device=str(device))
    parts = user_parts(spec.own)
    trainer = TrainingLoop(
        # Built on the CPU and moved; the tracer builds on its device, since fake tensors cannot be moved.
        module=module if next(module.parameters()).device.type == device.type else module.to(device),
        task=task_named(spec.task, spec.loss, parts=parts, scale=windows["train"].scale),
        plan=spec.plan,
        hyperparameters=hyperparameters,
        train=windows["train"],
        validation=windows["val"],
        parts=parts,
    )
    return trainer, hyperparameters
