"""Hyper-parameters of the training core, and the object that hands them out and records who was read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from scalecore.api.space import Hyperparameter, Value

CORE_HYPERPARAMETERS = (
    Hyperparameter(name="learning_rate", default=3e-4, low=1e-8, high=10.0, help="Peak learning rate."),
    Hyperparameter(
        name="weight_decay",
        default=1e-3,
        low=0.0,
        high=10.0,
        help="Weight decay of matrices, decoupled in AdamW; none on biases and norms.",
    ),
    Hyperparameter(name="warmup_steps", default=100, low=0, high=10_000_000, help="Optimizer steps of linear warm-up."),
    Hyperparameter(name="epochs", default=50, low=1, high=1_000_000, help="Passes over the training windows, at most."),
)


def declared(model: Sequence[Hyperparameter]) -> dict[str, Hyperparameter]:
    """All hyper-parameters by name: the training core's and those of the model family. A clash is the family's bug."""
    names = {parameter.name: parameter for parameter in CORE_HYPERPARAMETERS}
    for parameter in model:
        if parameter.name in names:
            raise ValueError(f"the model family declares {parameter.name!r}, which the training core has already")
        names[parameter.name] = parameter
    return names


class Hyperparameters:
    """The values of one trial by name.

    Every read is recorded, so that a value that nobody used is found (guard G03).
    """

    def __init__(self, values: Mapping[str, Value]) -> None:
        self._values = dict(values)
        self._read: set[str] = set()

    def __getitem__(self, name: str) -> Value:
        if name not in self._values:
            raise KeyError(
                f"hyper-parameter {name!r} was read but is not declared; declared are: {', '.join(self._values)}"
            )
        self._read.add(name)
        return self._values[name]

    def unread(self, names: Sequence[str]) -> list[str]:
        """Those of `names` that nobody has read yet."""
        return [name for name in names if name not in self._read]
