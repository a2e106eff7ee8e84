"""What can be varied: architectures that a model family offers, and hyper-parameters with their distributions."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from attrs import field, frozen

__all__ = [
    "Architecture",
    "ArchitectureSpace",
    "Choice",
    "DataShape",
    "Distribution",
    "Hyperparameter",
    "IntRange",
    "LogUniform",
    "Uniform",
    "Value",
    "distribution_plain",
    "levels",
    "middle",
]

Value = float | int | str | bool


def copied(mapping: Mapping[str, Any]) -> dict[str, Any]:
    """A copy, so that a frozen object does not change with the mapping that it was made from.

    (mypy rejects `dict` as a converter.)
    """
    return dict(mapping)


@frozen(kw_only=True)
class DataShape:
    """What a model sees: inputs of shape [batch, context, features], logits of shape [batch, outputs]."""

    context: int
    features: int
    outputs: int


@frozen(kw_only=True)
class Architecture:
    """One shape of a model family: its dimensions by name, its exact parameter count, its forward FLOPs per window.

    `id` is made of the content, never of a position in a list (guard G21).
    """

    values: Mapping[str, int] = field(converter=copied)
    num_parameters: int
    flops: int

    @property
    def id(self) -> str:
        """For example `d_model=64,n_layers=48,n_heads=2,d_ff=256`; `fixed` for a family without dimensions."""
        return ",".join(f"{name}={value}" for name, value in self.values.items()) or "fixed"


@frozen(kw_only=True)
class ArchitectureSpace:
    """All legal shapes of a model family, before any budget.

    `dimensions` names each dimension with the values it may take, in the order in which they are shown;
    `architectures` are the legal combinations (for instance: the heads divide the width).
    `depth` may name the dimension that counts equal blocks, each of which does the same work in the same memory: then
    the memory of a deep model is found from two shallow ones, which `build` must be able to make (depths 2 and 4). None
    where there is no such dimension. `roles` may tell further which dimension is the `width`, the number of `heads`,
    the `feed_forward` width: from their ratios a strategy derives what tells architectures of one size apart.

    `derived` names further values by which a result from elsewhere may give a dimension, each with its rule, such as
    `{"head_dim": lambda one: one["d_model"] // one["n_heads"]}`. `scalecore import` calls each rule on every legal
    architecture, for which it must return a finite number, and selects the one with all values of a record, never
    one that fits a budget (guard G17): a record with `d_model` and `head_dim` needs no `n_heads`. It notes the
    dimensions that a rule reads, so that a refusal can suggest other names. Without `derived` a record must give the
    dimensions themselves.
    """

    dimensions: Mapping[str, tuple[int, ...]] = field(converter=copied)
    architectures: tuple[Mapping[str, int], ...]
    depth: str | None = None
    roles: Mapping[str, str] = field(factory=dict, converter=copied)
    derived: Mapping[str, Callable[[Mapping[str, int]], float]] = field(factory=dict, converter=copied)

    def __attrs_post_init__(self) -> None:
        if both := [name for name in self.derived if name in self.dimensions]:
            raise ValueError(f"{', '.join(both)}: a dimension cannot be a derived name too")
        if self.depth is not None and self.depth not in self.dimensions:
            raise ValueError(f"depth {self.depth!r} is none of the dimensions {', '.join(self.dimensions) or '(none)'}")


@frozen(kw_only=True)
class Hyperparameter:
    """A hyper-parameter that the training core or a model family reads: its type is the type of its default."""

    name: str
    default: Value
    help: str
    low: float | None = None
    high: float | None = None
    choices: tuple[Value, ...] | None = None

    def problem(self, value: Value) -> str | None:
        """Why `value` cannot be used, or None."""
        if self.choices is not None:
            return None if value in self.choices else f"{value!r} is not one of {', '.join(map(repr, self.choices))}"
        if isinstance(self.default, bool) or isinstance(value, bool):
            matches = type(value) is type(self.default)
        elif isinstance(self.default, float):
            matches = isinstance(value, int | float)
        else:
            matches = isinstance(value, type(self.default))
        if not matches:
            return f"expected {type(self.default).__name__}, got {value!r}"
        if isinstance(value, int | float):
            if not math.isfinite(value):
                return f"{value!r} is not finite"
            if self.low is not None and value < self.low:
                return f"{value!r} is below {self.low:g}"
            if self.high is not None and value > self.high:
                return f"{value!r} is above {self.high:g}"
        return None


@frozen(kw_only=True)
class Uniform:
    """A float, uniform between `low` and `high`, both included."""

    low: float
    high: float

    def at(self, unit: float) -> float:
        """The value at `unit` in [0, 1] of the range: 0 is `low`, 0.5 the middle, 1 is `high`."""
        return self.low + unit * (self.high - self.low)

    def unit(self, value: Value) -> float:
        """Where `value` lies in the range, as a number in [0, 1]."""
        return (float(value) - self.low) / (self.high - self.low) if self.high > self.low else 0.5

    def contains(self, value: Value) -> bool:
        return isinstance(value, int | float) and not isinstance(value, bool) and self.low <= value <= self.high

    def bounds(self) -> tuple[Value, ...]:
        return (self.low, self.high)


@frozen(kw_only=True)
class LogUniform:
    """A float whose logarithm is uniform between those of `low` and `high`, both included and positive."""

    low: float
    high: float

    def at(self, unit: float) -> float:
        value = math.exp(math.log(self.low) + unit * (math.log(self.high) - math.log(self.low)))
        return min(max(value, self.low), self.high)

    def unit(self, value: Value) -> float:
        if self.high == self.low:
            return 0.5
        return math.log(float(value) / self.low) / math.log(self.high / self.low)

    def contains(self, value: Value) -> bool:
        return isinstance(value, int | float) and not isinstance(value, bool) and self.low <= value <= self.high

    def bounds(self) -> tuple[Value, ...]:
        return (self.low, self.high)


@frozen(kw_only=True)
class IntRange:
    """An integer from `low` to `high` in steps of `step`, or log-uniform where `log` is set (then `step` is 1)."""

    low: int
    high: int
    step: int = 1
    log: bool = False

    def at(self, unit: float) -> int:
        if self.log:
            value = math.exp(math.log(self.low) + unit * (math.log(self.high) - math.log(self.low)))
            return min(max(round(value), self.low), self.high)
        steps = (self.high - self.low) // self.step
        return self.low + self.step * min(int(unit * (steps + 1)), steps)

    def unit(self, value: Value) -> float:
        if self.high == self.low:
            return 0.5
        if self.log:
            return math.log(float(value) / self.low) / math.log(self.high / self.low)
        return (float(value) - self.low) / (self.high - self.low)

    def contains(self, value: Value) -> bool:
        if not isinstance(value, int) or isinstance(value, bool) or not self.low <= value <= self.high:
            return False
        return self.log or (value - self.low) % self.step == 0

    def bounds(self) -> tuple[Value, ...]:
        return (self.low, self.high)


@frozen(kw_only=True)
class Choice:
    """One of a few values, in the order in which the file lists them."""

    values: tuple[Value, ...]

    def at(self, unit: float) -> Value:
        return self.values[min(int(unit * len(self.values)), len(self.values) - 1)]

    def unit(self, value: Value) -> float:
        return (self.values.index(value) + 0.5) / len(self.values)

    def contains(self, value: Value) -> bool:
        return any(value == known and type(value) is type(known) for known in self.values)

    def bounds(self) -> tuple[Value, ...]:
        return self.values


Distribution = Uniform | LogUniform | IntRange | Choice


def middle(distribution: Distribution) -> Any:
    """The middle of a range; of a choice its middle value."""
    return distribution.at(0.5)


def levels(distribution: Distribution) -> int | None:
    """How many values it has; None where they are continuous."""
    match distribution:
        case Choice():
            return len(distribution.values)
        case IntRange():
            return (distribution.high - distribution.low) // distribution.step + 1
    return 1 if distribution.low == distribution.high else None


def distribution_plain(distribution: Distribution) -> dict[str, Any]:
    """A distribution as the experiment file writes it."""
    match distribution:
        case LogUniform():
            return {"log_uniform": [distribution.low, distribution.high]}
        case Uniform():
            return {"uniform": [distribution.low, distribution.high]}
        case IntRange():
            extra = {"log": True} if distribution.log else {"step": distribution.step} if distribution.step != 1 else {}
            return {"int": [distribution.low, distribution.high], **extra}
    return {"choice": list(distribution.values)}
