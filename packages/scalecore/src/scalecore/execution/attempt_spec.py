"""What an attempt is to do: the content of `spec.json`, everything that its process needs, by value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from attrs import fields, frozen

from scalecore.api.files import plain
from scalecore.api.plan_report import ProductsReport
from scalecore.api.space import DataShape, Value
from scalecore.config.own_code import OwnCode
from scalecore.training.compile_choice import CompileRule
from scalecore.training.plan import TrainingPlan
from scalecore.training.policies import Evaluation, Launches


@frozen(kw_only=True)
class ModelSpec:
    """The model family by its name, and its options as the experiment file gives them."""

    use: str
    options: Mapping[str, object]


@frozen(kw_only=True)
class ModelToBuild:
    """What a model is built from."""

    registry: Mapping[str, object]
    """The arguments of `load_registry`."""
    model: ModelSpec
    architecture: Mapping[str, int]
    num_parameters: int
    shape: DataShape
    products: ProductsReport | None = None
    """Of the study; None where it began before there was a choice."""


@frozen(kw_only=True)
class AttemptSpec:
    """One attempt. Fields with a default came after version 0.1, and are at what it did; paths are absolute.

    A spec is written by the driver right before its attempt, and read once more where the model of a finished training
    is evaluated, perhaps by a later version.
    """

    attempt: str
    """The id of the attempt, which its result repeats."""
    number: int | None
    """Of the trial; None of a smoke step."""
    mode: Literal["train", "smoke", "evaluate"]
    registry: Mapping[str, object]
    model: ModelSpec
    architecture: Mapping[str, int]
    num_parameters: int
    hyperparameters: Mapping[str, Value]
    sampled: Sequence[str]
    """Hyper-parameters that the search varies: each must be read."""
    shape: DataShape
    task: str
    loss: Mapping[str, object] | None
    label_overlap: int
    """Rows that neighbouring labels share, plus one."""
    data: str
    """The folder of prepared data."""
    seed: int
    device: Literal["auto", "cpu", "cuda", "mps"]
    threads: int
    precision: Literal["auto", "fp32", "bf16"]
    compile: Literal["auto", "off", "block"]
    launches: Launches = "plain"
    products: ProductsReport | None = None
    compile_rule: CompileRule = "flops"
    """How `compile: auto` decides."""
    flops: int
    """Of a forward pass of one window."""
    memory_limit: int | None
    """Bytes of the machine's memory that the process may take."""
    gpu: str | None = None
    """The one on which it was admitted."""
    gpu_limit: int | None = None
    """Bytes that it was promised there."""
    gpu_sharers: int = 1
    """Trials that may share a GPU where none was promised anything."""
    activation_checkpointing: bool
    keep_weights: bool
    plan: TrainingPlan
    resume_from: Sequence[str]
    """Folders of earlier attempts with checkpoints, the latest first."""
    compiled: str | None = None
    """The folder of compiled blocks that attempts of a run share."""
    part: str | None = None
    """Of an evaluation: the part of the data that it looks at."""
    epoch: int | None = None
    weights: str | None = None
    evaluation: Evaluation | None = None
    own: OwnCode | None = None
    """Code by import path."""

    @property
    def to_build(self) -> ModelToBuild:
        return ModelToBuild(**{one.name: getattr(self, one.name) for one in fields(ModelToBuild)})

    def plain(self) -> dict[str, Any]:
        """JSON types, in the order of the fields; what only some attempts have is left out of the others."""
        content = {one.name: getattr(self, one.name) for one in fields(AttemptSpec)}
        left_out = {name for name in OF_SOME if content[name] is None}
        left_out |= {"gpu_limit"} if self.gpu is None else set()
        left_out |= {"gpu_sharers"} if self.gpu_sharers == 1 else set()
        result: dict[str, Any] = plain({name: value for name, value in content.items() if name not in left_out})
        return result


OF_SOME = ("gpu", "compiled", "part", "epoch", "weights", "evaluation", "own")
"""Fields that no spec has where they are None."""
