"""The specification of an attempt: the content of `spec.json`, which is everything that its process needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from attrs import field, fields, frozen

from scalecore.api.files import plain
from scalecore.api.space import DataShape, Value
from scalecore.api.training import TrainingPlan

OF_SOME = "of_some"


def of_some() -> Any:
    """A field that is left out of the spec if None."""
    return field(default=None, metadata={OF_SOME: True})


@frozen(kw_only=True)
class ModelSpec:
    """The model family by name, and its options from the experiment file."""

    use: str
    options: Mapping[str, object]


@frozen(kw_only=True)
class AttemptSpec:
    """One attempt, for any trainer; a trainer that needs more fields derives its own class.

    Fields with a default were added after version 0.1, and the default matches its behaviour. Paths are absolute.

    The driver writes a spec right before the attempt. It is read again, perhaps by a later version, when the trained
    model is evaluated.
    """

    attempt: str
    """The id of the attempt, which its result repeats."""
    number: int | None
    """Number of the trial; None for a smoke step."""
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
    """Number of rows that neighbouring labels share, plus one."""
    data: str
    """The folder of prepared data."""
    seed: int
    device: Literal["auto", "cpu", "cuda", "mps"]
    threads: int
    flops: int
    """FLOPs of a forward pass of one window."""
    memory_limit: int | None
    """Limit of the process in bytes of main memory."""
    gpu: str | None = of_some()
    """The GPU on which it was admitted."""
    gpu_limit: int | None = None
    """Limit in bytes of GPU memory."""
    gpu_sharers: int = 1
    """Number of trials that may share a GPU without a `gpu_limit`."""
    activation_checkpointing: bool
    keep_weights: bool
    plan: TrainingPlan
    resume_from: Sequence[str]
    """Folders of earlier attempts with checkpoints, the latest first."""
    part: str | None = of_some()
    """Of an evaluation: the evaluated part of the data."""
    epoch: int | None = of_some()
    weights: str | None = of_some()

    def plain(self) -> dict[str, Any]:
        """Convert to JSON types, in the order of the fields; leave out fields that only some attempts have."""
        content = {one.name: getattr(self, one.name) for one in fields(type(self))}
        some = (one.name for one in fields(type(self)) if one.metadata.get(OF_SOME))
        left_out = {name for name in some if content[name] is None}
        left_out |= {"gpu_limit"} if self.gpu is None else set()
        left_out |= {"gpu_sharers"} if self.gpu_sharers == 1 else set()
        result: dict[str, Any] = plain({name: value for name, value in content.items() if name not in left_out})
        return result
