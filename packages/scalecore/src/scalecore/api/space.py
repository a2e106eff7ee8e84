"""The search space: architectures of a model family, and hyper-parameters with their distributions."""

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
    """Return a copy, so that a frozen object does not change with the caller's mapping.

    (mypy rejects `dict` as a converter.)
    """
    return dict(mapping)


@frozen(kw_only=True)
class DataShape:
    """The sizes of a model's input [batch, context, features] and output [batch, outputs]."""

    context: int
    features: int
    outputs: int


@frozen(kw_only=True)
class Architecture:
    """A shape of a model family: its dimensions by name, its exact parameter count, its forward FLOPs per window.

    The `id` consists of the values, never of a position in a list (guard G21).
    """

    values: Mapping[str, int] = field(converter=copied)
    num_parameters: int
    flops: int

    @property
    def id(self) -> str:
        """For example `d_model=64,n_layers=48,n_heads=2,d_ff=256`; `fixed` for a family without dimensions."""
        return shape_id(self.values)


def shape_id(values: Mapping[str, int]) -> str:
    """Return the id of the architecture with these values of the dimensions, in their order."""
    return ",".join(f"{name}={value}" for name, value in values.items()) or "fixed"


@frozen(kw_only=True)
class ArchitectureSpace:
    """All legal shapes of a model family, regardless of the budget.

    `dimensions` maps each dimension to its possible values, in display order; `architectures` are the legal
    combinations (for instance: the heads divide the width).

    `depth` may name the dimension that counts equal blocks, each with the same work and memory. The memory of a deep
    model is then extrapolated from two shallow ones, which `build` must support (depths 2 and 4). `roles` may name the
    dimensions for the `width`, the number of `heads` and the `feed_forward` width; a strategy uses their ratios to
    distinguish architectures of the same size.

    `derived` declares further values by which imported results may describe an architecture, each with its rule, such
    as `{"head_dim": lambda one: one["d_model"] // one["n_heads"]}`: a record with `d_model` and `head_dim` then needs
    no `n_heads`. `scalecore import` calls each rule on every legal architecture, for which it must return a finite
    number, and selects the architecture that has all values of the record, never one that fits a budget (guard G17). It
    also records which dimensions a rule reads, so that a refusal can suggest other names. Without `derived`, a record
    must contain the dimensions themselves.
    """

    dimensions: Mapping[str, tuple[int, ...]] = field(converter=copied)
    architectures: tuple[Mapping[str, int], ...]
    depth: str | None = None
    roles: Mapping[str, str] = field(factory=dict, converter=copied)
    derived: Mapping[str, Callable[[Mapping[str, int]], float]] = field(factory=dict, converter=copied)

    def __attrs_post_init__(self) -> None:
        if both := [name for name in self.derived if name in self.dimensions]:
            raise ValueError(f"{', '.join(both)}: a dimension cannot also be a derived name")
        if self.depth is not None and self.depth not in self.dimensions:
            known = ", ".join(self.dimensions) or "(none)"
            raise ValueError(f"depth {self.depth!r} is not one of the dimensions {known}")


@frozen(kw_only=True)
class Hyperparameter:
    """A hyper-parameter that the trainer or a model family reads. Its type is that of its default."""

    name: str
    default: Value
    help: str
    low: float | None = None
    high: float | None = None
    choices: tuple[Value, ...] | None = None

    def problem(self, value: Value) -> str | None:
        """Return why `value` is invalid, or None if it is valid."""
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
        """Return the value at position `unit` in [0, 1]: 0 is `low`, 0.5 the middle, 1 is `high`."""
        return self.low + unit * (self.high - self.low)

    def unit(self, value: Value) -> float:
        """Return the position of `value` in the range, as a number in [0, 1]."""
        return (float(value) - self.low) / (self.high - self.low) if self.high > self.low else 0.5

    def contains(self, value: Value) -> bool:
        return isinstance(value, int | float) and not isinstance(value, bool) and self.low <= value <= self.high

    def bounds(self) -> tuple[Value, ...]:
        return (self.low, self.high)


@frozen(kw_only=True)
class LogUniform:
    """A float with a uniform logarithm between `low` and `high`, both included and positive."""

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
    """An integer from `low` to `high` in steps of `step`, or log-uniform if `log` is set (then `step` is 1)."""

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
    """One of several values, in the order of the file."""

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
    """Return the middle of a range, or the middle value of a choice."""
    return distribution.at(0.5)


def levels(distribution: Distribution) -> int | None:
    """Return the number of values; None if the distribution is continuous."""
    match distribution:
        case Choice():
            return len(distribution.values)
        case IntRange():
            return (distribution.high - distribution.low) // distribution.step + 1
    return 1 if distribution.low == distribution.high else None


def distribution_plain(distribution: Distribution) -> dict[str, Any]:
    """Return a distribution as it is written in the experiment file."""
    match distribution:
        case LogUniform():
            return {"log_uniform": [distribution.low, distribution.high]}
        case Uniform():
            return {"uniform": [distribution.low, distribution.high]}
        case IntRange():
            extra = {"log": True} if distribution.log else {"step": distribution.step} if distribution.step != 1 else {}
            return {"int": [distribution.low, distribution.high], **extra}
    return {"choice": list(distribution.values)}
