"""What a model family does at run time, in the driver and in the process of an attempt.

The *driver* is the process of `scalecore run`: it owns the study and never imports torch.
An *attempt* is a process that trains one trial.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    import torch

    from scalecore.api.space import ArchitectureSpace, DataShape, Hyperparameter

__all__ = ["ClosedForms", "HyperparameterReader", "ModelFamily", "SizedFamily", "SupportsLevelCheck"]


class HyperparameterReader(Protocol):
    """Hyper-parameters by name. Every read is recorded: a sampled one that nobody read is an error (guard G03)."""

    def __getitem__(self, name: str) -> Any: ...


@runtime_checkable
class ModelFamily(Protocol):
    """A family of architectures that share one way of building.

    Everything but `build` is called in the driver, often and for thousands of shapes, and must not import torch.
    An exception in the driver ends the run; one in `build` or in the module fails the trial with a typed reason.

    How large a shape is, is counted by building it on torch's meta device, in a process beside the driver. A family may
    say it itself, which is faster: it then has some or all methods of `ClosedForms`.
    """

    def hyperparameters(self) -> Sequence[Hyperparameter]:
        """The hyper-parameters that `build` reads, beside those of the training core."""
        ...

    def architecture_space(self, data: DataShape) -> ArchitectureSpace:
        """All legal shapes for this data, before any budget.

        Optional: `ArchitectureSpace(..., derived=...)` declares other names by which results from elsewhere give a
        dimension, such as the ratio of two.
        """
        ...

    def build(
        self, architecture: Mapping[str, int], hyperparameters: HyperparameterReader, data: DataShape
    ) -> torch.nn.Module:
        """The module, in the attempt's process: from x[batch, context, features] to logits[batch, outputs] (guard G10).

        Called once per attempt after the random seed was set, on the CPU; the trainer moves it to the device. It is
        also called on tensors that have shapes and no values: on the meta device to count the shape, with all
        hyper-parameters at their defaults, and under `torch._subclasses.FakeTensorMode` to find out how much memory
        training needs. Where that fails, a real module is counted, and `saved_activations` says the memory. The number
        of parameters must not depend on hyper-parameters.

        The module may offer more: see `scalecore.api.module`.
        """
        ...


@runtime_checkable
class ClosedForms(Protocol):
    """What a model family may have besides, each method by itself: how large a shape is, without building it.

    Called in the driver, for each shape of the grid.
    """

    def num_parameters(self, architecture: Mapping[str, int], data: DataShape) -> int:
        """The exact number of trainable parameters. Must equal that of the built module (guard G04)."""
        ...

    def flops(self, architecture: Mapping[str, int], data: DataShape) -> int:
        """Floating-point operations of one forward pass of one window; a multiply-add counts as two."""
        ...

    def saved_activations(self, architecture: Mapping[str, int], data: DataShape) -> int:
        """Numbers that one window keeps between forward and backward, roughly; feeds the prediction of memory."""
        ...


class SizedFamily(ModelFamily, ClosedForms, Protocol):
    """A model family of which the size of every shape is known, by its closed forms or by counting."""


@runtime_checkable
class SupportsLevelCheck(Protocol):
    """What a `ModelFamily` may offer beside its methods: one that can normalise each window by itself has to.

    Called in the driver, by `scalecore check` and while a study is planned. A forecast is refused then, since the same
    window at another level would get the same forecast (guard G57). A family that does not offer it and removes the
    level all the same is found by the smoke step, before the first trial.
    """

    def level_removed_by(self) -> str | None:
        """The option of the family that removes the level of a window without adding it to the outputs again.

        None where the level reaches the outputs, as with that option off:

            def level_removed_by(self) -> str | None:
                return "revin" if self._options.revin else None
        """
        ...
