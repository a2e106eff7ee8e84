"""What an attempt is to do: the content of `spec.json`, everything that its process needs, by value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from attrs import field, fields, frozen

from scalecore.api.files import plain
from scalecore.api.space import DataShape, Value
from scalecore.api.training import TrainingPlan

OF_SOME = "of_some"


def of_some() -> Any:
    """A field that no spec has where it is None."""
    return field(default=None, metadata={OF_SOME: True})


@frozen(kw_only=True)
class ModelSpec:
    """The model family by its name, and its options as the experiment file gives them."""

    use: str
    options: Mapping[str, object]


@frozen(kw_only=True)
class AttemptSpec:
    """One attempt, as any trainer is given it; the spec of one that needs more is of a class derived from this.

    Fields with a default came after version 0.1, and are at what it did; paths are absolute.

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
    flops: int
    """Of a forward pass of one window."""
    memory_limit: int | None
    """Bytes of the machine's memory that the process may take."""
    gpu: str | None = of_some()
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
    part: str | None = of_some()
    """Of an evaluation: the part of the data that it looks at."""
    epoch: int | None = of_some()
    weights: str | None = of_some()

    def plain(self) -> dict[str, Any]:
        """JSON types, in the order of the fields; what only some attempts have is left out of the others."""
        content = {one.name: getattr(self, one.name) for one in fields(type(self))}
        some = (one.name for one in fields(type(self)) if one.metadata.get(OF_SOME))
        left_out = {name for name in some if content[name] is None}
        left_out |= {"gpu_limit"} if self.gpu is None else set()
        left_out |= {"gpu_sharers"} if self.gpu_sharers == 1 else set()
        result: dict[str, Any] = plain({name: value for name, value in content.items() if name not in left_out})
        return result
