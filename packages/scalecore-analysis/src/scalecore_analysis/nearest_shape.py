"""Find the shape of another budget that is nearest to a given one in aspect, head size and feed-forward ratio."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from scalecore.api.space import Architecture

RATIOS = (("width", "depth"), ("width", "heads"), ("feed_forward", "width"))
"""Aspect, head size and feed-forward ratio, by the roles of dimensions."""


def nearest_shape(
    architecture: Architecture, candidates: Sequence[Architecture], *, roles: Mapping[str, str]
) -> Architecture:
    """The candidate with the nearest base-2 logarithms of the ratios whose roles the family declares.

    Dimensions without a role count by their logarithm. Ties go to the candidate nearer to the median size, then to the
    first.
    """
    middle = math.log2(sorted(one.num_parameters for one in candidates)[len(candidates) // 2])
    own = _coordinates(architecture, roles)

    def distance(one: Architecture) -> tuple[float, float]:
        other = _coordinates(one, roles)
        apart = math.dist([own.get(name, 0.0) for name in other], list(other.values()))
        return round(apart, 9), abs(math.log2(one.num_parameters) - middle)

    return min(candidates, key=distance)


def _coordinates(architecture: Architecture, roles: Mapping[str, str]) -> dict[str, float]:
    values = architecture.values
    found: dict[str, float] = {}
    used: set[str] = set()
    for top, bottom in RATIOS:
        first, second = roles.get(top, ""), roles.get(bottom, "")
        if values.get(first, 0) > 0 and values.get(second, 0) > 0:
            found[f"{top}/{bottom}"] = math.log2(values[first] / values[second])
            used |= {first, second}
    found |= {
        name: math.log2(value) if value > 0 else float(value) for name, value in values.items() if name not in used
    }
    return found
