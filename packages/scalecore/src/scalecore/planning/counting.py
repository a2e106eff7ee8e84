"""The sizes of a family's shapes: from its closed forms, or else counted in another process."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from numbers import Real
from typing import TYPE_CHECKING, Any

from scalecore.api.errors import PluginError
from scalecore.api.space import ArchitectureSpace, DataShape, Hyperparameter

if TYPE_CHECKING:
    from scalecore.api.model import HyperparameterReader, ModelFamily

FORWARD = ("flops", "saved_activations")
"""Sizes whose count needs a forward pass."""

Ask = Callable[[Sequence[Mapping[str, int]], DataShape, bool], Sequence[Mapping[str, int]]]
"""Count these shapes for this data, with or without a forward pass: see `scalecore_torch.training.counting.count`."""


class CountedFamily:
    """A `SizedFamily`: the family, with the sizes that it does not declare counted once per shape.

    Before using many shapes, call `count` or `count_forward` with all of them, so that they are counted together.
    """

    def __init__(
        self,
        family: ModelFamily,
        ask: Ask,
        *,
        guard: Callable[[str], AbstractContextManager[None]] | None = None,
        activations: bool = True,
    ) -> None:
        """`guard` adds the family's name to errors of `saved_activations`. `activations=False`: do not count them."""
        self._family = family
        self._ask = ask
        self._forward = FORWARD if activations else ("flops",)
        self._guard = guard or (lambda _: nullcontext())
        self._found: dict[tuple[Any, ...], dict[str, int]] = {}

    def __getattr__(self, name: str) -> Any:
        """Return further attributes of the family."""
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._family, name)

    def hyperparameters(self) -> Sequence[Hyperparameter]:
        return self._family.hyperparameters()

    def architecture_space(self, data: DataShape) -> ArchitectureSpace:
        return self._family.architecture_space(data)

    def build(self, architecture: Mapping[str, int], hyperparameters: HyperparameterReader, data: DataShape) -> Any:
        return self._family.build(architecture, hyperparameters, data)

    def num_parameters(self, architecture: Mapping[str, int], data: DataShape) -> int:
        return self._size("num_parameters", architecture, data)

    def flops(self, architecture: Mapping[str, int], data: DataShape) -> int:
        return self._size("flops", architecture, data)

    def saved_activations(self, architecture: Mapping[str, int], data: DataShape) -> int:
        with self._guard("cannot report its activations"):
            return self._size("saved_activations", architecture, data)

    def count(self, architectures: Sequence[Mapping[str, int]], data: DataShape) -> None:
        """Count the parameters of these shapes, unless the family declares them."""
        if not hasattr(self._family, "num_parameters"):
            self._need(architectures, data, "num_parameters")

    def count_forward(self, architectures: Sequence[Mapping[str, int]], data: DataShape, *, depth: str | None) -> None:
        """Count FLOPs and activations of these shapes, unless the family declares them.

        Of shapes that differ in their `depth` only, three are counted. If these lie on a line, the others are
        interpolated, because equal blocks cost the same.
        """
        if all(hasattr(self._family, name) for name in self._forward):
            return
        groups: dict[Any, list[Mapping[str, int]]] = {}
        for at, one in enumerate(architectures):
            rest = at if depth is None else tuple(item for item in one.items() if item[0] != depth)
            groups.setdefault(rest, []).append(one)
        few = {key: _some(group, depth) for key, group in groups.items()}
        self._need([one for group in few.values() for one in group], data, "flops")
        left: list[Mapping[str, int]] = []
        for key, group in groups.items():
            others = [one for one in group if one not in few[key]]
            if others and not (depth is not None and self._on_a_line(few[key], others, data, depth)):
                left += others
        self._need(left, data, "flops")

    def _on_a_line(
        self, few: Sequence[Mapping[str, int]], others: Sequence[Mapping[str, int]], data: DataShape, depth: str
    ) -> bool:
        """Interpolate the other shapes if the counted ones lie on a line; return whether they do."""
        first, middle, last = (self._found[_key(one, data)] for one in few)
        low, between, high = (one[depth] for one in few)
        if any(
            (middle[name] - first[name]) * (high - between) != (last[name] - middle[name]) * (between - low)
            for name in FORWARD
        ):
            return False
        for one in others:
            sizes = {
                name: first[name] + (last[name] - first[name]) * (one[depth] - low) // (high - low) for name in FORWARD
            }
            self._found.setdefault(_key(one, data), {}).update(sizes)
        return True

    def _size(self, name: str, architecture: Mapping[str, int], data: DataShape) -> int:
        declared: Callable[[Mapping[str, int], DataShape], int] | None = getattr(self._family, name, None)
        if declared is not None:
            found = declared(architecture, data)
            number = isinstance(found, Real) and not isinstance(found, bool) and math.isfinite(found)
            if not number or found < 0 or (name == "num_parameters" and found % 1):
                kind = type(self._family).__name__
                raise PluginError(f"{kind}.{name} returned {found!r} for {dict(architecture)}, not a count")
            return found
        self._need([architecture], data, name)
        return self._found[_key(architecture, data)][name]

    def _need(self, architectures: Sequence[Mapping[str, int]], data: DataShape, name: str) -> None:
        missing = [one for one in architectures if name not in self._found.get(_key(one, data), {})]
        if missing:
            for one, sizes in zip(missing, self._ask(missing, data, name in FORWARD), strict=True):
                self._found.setdefault(_key(one, data), {}).update(sizes)


def _some(group: Sequence[Mapping[str, int]], depth: str | None) -> list[Mapping[str, int]]:
    """Return the shallowest, a middle and the deepest shape; all of three or fewer."""
    if depth is None or len(group) <= 3:
        return list(group)
    ordered = sorted(group, key=lambda one: one[depth])
    return [ordered[0], ordered[len(ordered) // 2], ordered[-1]]


def _key(architecture: Mapping[str, int], data: DataShape) -> tuple[Any, ...]:
    return (*sorted(architecture.items()), data.context, data.features, data.outputs)
