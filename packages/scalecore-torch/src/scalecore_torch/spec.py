"""The task of an attempt in torch: the content of `spec.json`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from attrs import fields, frozen

from scalecore.api.attempts import AttemptSpec, ModelSpec, of_some
from scalecore.api.plan_report import ProductsReport
from scalecore.api.space import DataShape
from scalecore.api.trainer import CompileRule
from scalecore_torch.training.policies import Evaluation, Launches
from scalecore_torch.user_code import UserCode


@frozen(kw_only=True)
class ModelToBuild:
    """Everything needed to build a model."""

    registry: Mapping[str, object]
    """The arguments of `load_registry`."""
    model: ModelSpec
    architecture: Mapping[str, int]
    num_parameters: int
    shape: DataShape
    products: ProductsReport | None = None
    """The study's library of float32 products; None in studies older than the choice."""


@frozen(kw_only=True)
class TorchSpec(AttemptSpec):
    """One attempt in torch."""

    precision: Literal["auto", "fp32", "bf16"]
    compile: Literal["auto", "off", "block"]
    launches: Launches = "plain"
    products: ProductsReport | None = None
    compile_rule: CompileRule = "flops"
    """How `compile: auto` decides."""
    compiled: str | None = of_some()
    """The folder of compiled blocks that the attempts of a run share."""
    evaluation: Evaluation | None = of_some()
    own: UserCode | None = of_some()
    """Code by import path."""

    @property
    def to_build(self) -> ModelToBuild:
        return ModelToBuild(**{one.name: getattr(self, one.name) for one in fields(ModelToBuild)})
