"""From a spec to the model that it names, built with the plugins of the driver and checked for its size."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from scalecore.api.errors import RefusedError
from scalecore.api.model import ModelFamily
from scalecore.config.stored import texts_in
from scalecore.config.structure import make_converter
from scalecore.execution.attempt_spec import ModelSpec, ModelToBuild
from scalecore.plugins.registry import load_registry
from scalecore.training.counting import count_parameters
from scalecore.training.hyperparameters import Hyperparameters
from scalecore.training.product_library import use_library


def build_module(spec: ModelToBuild, hyperparameters: Hyperparameters) -> nn.Module:
    """The model with the weights that it begins with.

    Raises `RefusedError` when the model is not of the size that it should be (G04).
    """
    family = build_family(spec.model, registry=spec.registry)
    module: nn.Module = family.build(spec.architecture, hyperparameters, spec.shape)
    counted = count_parameters(module)
    if counted != spec.num_parameters:
        has = f"the built model {spec.model.use!r} has {counted:,} parameters"
        size, shape = f"{spec.num_parameters:,}", dict(spec.architecture)
        if hasattr(family, "num_parameters"):
            text = f"{has}, its formula says {size} for {shape}: mend num_parameters() of the plugin"
        else:
            text = (
                f"{has}, and {size} with its hyper-parameters at their defaults, for {shape}: what changes the size "
                "must be a dimension of the architecture, not a hyper-parameter"
            )
        raise RefusedError(text, guard="G04")
    use_library(module, None if spec.products is None else spec.products.name)
    return module


def build_family(model: ModelSpec, *, registry: Mapping[str, object]) -> ModelFamily:
    """The model family: looked up as in the driver, with the same plugins, and the same ones blocked."""
    record = load_registry(**registry).default("model", model.use).record  # type: ignore[arg-type]
    written = frozenset(texts_in(model.options))
    options: Any = make_converter(Path.cwd(), written).structure(model.options, record.options)
    family: ModelFamily = record.factory(options)
    return family
