"""The protocol of model families, used in the driver and in the process of an attempt.

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
    """Hyper-parameters by name. Reads are recorded: a varied hyper-parameter that is never read is an error (G03)."""

    def __getitem__(self, name: str) -> Any: ...


@runtime_checkable
class ModelFamily(Protocol):
    """A family of architectures that are built in the same way.

    The driver calls all methods except `build`, often and for thousands of shapes; they must not import torch. An
    exception in the driver ends the run; one in `build` or in the module fails the trial with a typed reason.

    The core counts the size of a shape by building it on torch's meta device in a separate process. A family can be
    faster by implementing some or all methods of `ClosedForms`.
    """

    def hyperparameters(self) -> Sequence[Hyperparameter]:
        """Return the hyper-parameters that `build` reads, in addition to those of the trainer."""
        ...

    def architecture_space(self, data: DataShape) -> ArchitectureSpace:
        """Return all legal shapes for this data, regardless of the budget.

        Optional: `ArchitectureSpace(..., derived=...)` declares further values by which imported results may describe
        an architecture, such as the ratio of two dimensions.
        """
        ...

    def build(
        self, architecture: Mapping[str, int], hyperparameters: HyperparameterReader, data: DataShape
    ) -> torch.nn.Module:
        """Build the module that maps x[batch, context, features] to logits[batch, outputs] (guard G10).

        Called once per attempt, in the attempt's process, after the random seed is set. Build on the CPU; the trainer
        moves the module to the device. `build` is also called with tensors that have shapes but no values: on the meta
        device to count the shape, with all hyper-parameters at their defaults, and under
        `torch._subclasses.FakeTensorMode` to measure the memory of training. If that fails, the core counts a real
        module and predicts memory from `saved_activations`. The number of parameters must not depend on
        hyper-parameters.

        The module may support further protocols: see `scalecore.api.module`.
        """
        ...


@runtime_checkable
class ClosedForms(Protocol):
    """Optional methods of a model family, each independent of the others: sizes of a shape without building it.

    Called in the driver, for each shape of the grid.
    """

    def num_parameters(self, architecture: Mapping[str, int], data: DataShape) -> int:
        """Return the exact number of trainable parameters, equal to that of the built module (guard G04)."""
        ...

    def flops(self, architecture: Mapping[str, int], data: DataShape) -> int:
        """Return the floating-point operations of a forward pass of one window; a multiply-add counts as two."""
        ...

    def saved_activations(self, architecture: Mapping[str, int], data: DataShape) -> int:
        """Return about how many numbers one window stores between the forward and the backward pass.

        Used to predict memory.
        """
        ...


class SizedFamily(ModelFamily, ClosedForms, Protocol):
    """A model family that has all sizes, from closed forms or by counting."""


@runtime_checkable
class SupportsLevelCheck(Protocol):
    """Optional for a `ModelFamily`, required if it can normalise each window separately.

    Called in the driver, by `scalecore check` and while a study is planned. If an option removes the level of a window,
    the core refuses a forecast, because the same window at another level would get the same forecast (guard G57). If
    the family removes the level without implementing this protocol, the smoke step detects it before the first trial.
    """

    def level_removed_by(self) -> str | None:
        """Return the option that removes the level of a window without restoring it in the outputs.

        Return None if the outputs depend on the level, for instance because that option is off:

            def level_removed_by(self) -> str | None:
                return "revin" if self._options.revin else None
        """
        ...
