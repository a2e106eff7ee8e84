"""From a spec to the model that it names, built with the plugins of the driver and checked for its size."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from scalecore.config.structure import make_converter
from scalecore.errors import RefusedError
from scalecore.plugins.registry import load_registry
from scalecore.space import DataShape
from scalecore.training.hyperparameters import Hyperparameters

__all__ = ["build_module", "count_parameters"]


def build_module(spec: Mapping[str, Any], hyperparameters: Hyperparameters) -> nn.Module:
    """The model of a spec, with the weights that it begins with.

    Reads `registry`, `model`, `architecture`, `shape` and `num_parameters` of the spec. Raises `RefusedError` when the
    model is not of the size that it should be (G04).
    """
    # The model is looked up as in the driver: the same plugins, and the same ones blocked.
    record = load_registry(**spec["registry"]).get("model", spec["model"]["use"]).record
    options: Any = make_converter(Path.cwd()).structure(spec["model"]["options"], record.options)
    family = record.factory(options)
    module: nn.Module = family.build(spec["architecture"], hyperparameters, DataShape(**spec["shape"]))
    counted = count_parameters(module)
    if counted != spec["num_parameters"]:
        raise RefusedError(
            f"the built model {spec['model']['use']!r} has {counted:,} parameters, its formula says "
            f"{spec['num_parameters']:,} "
            f"for {dict(spec['architecture'])}: mend num_parameters() of the plugin",
            guard="G04",
        )
    return module


def count_parameters(module: nn.Module) -> int:
    """Trainable parameters, shared ones once."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)
