"""The declaration of an indicator."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Literal

from attrs import evolve, field, frozen

from scalecore_market.bars import INPUTS, Array, Bars

__all__ = ["Indicator", "Kind", "Source", "recursive", "window"]

Source = Literal["raw", "TA-Lib", "pandas", "numpy"]
Kind = Literal["number", "integer", "boolean"]


@frozen(kw_only=True)
class Indicator:
    """One feature column.

    `function` receives the bars and returns one value per row [rows], NaN where it is not yet defined. It is causal:
    the value of row t depends only on rows up to t (guard G51, checked by truncation). `inputs` are names from
    `bars.INPUTS`.

    `look_back` is the number of earlier rows that a value depends on. It depends on `memory`:

    - `window`: exact; older rows do not affect the value.
    - `recursive`: averages with infinite memory; the rows with 99 % of the weight. All older rows have 1 %.
    - `cumulative`: running totals; the rows of one step. All older rows are one constant, equal within a window.

    `warm_up` is the first trustworthy row, counted from the first row with all inputs: the look-back is filled, and the
    start of a recursive average has a weight of at most 1 %.
    """

    name: str
    formula: str
    """One line. `x[t-n]` is the value n rows earlier; means and sums are over the last n rows."""
    inputs: tuple[str, ...]
    look_back: int
    warm_up: int
    source: Source
    function: Callable[[Bars], Array] = field(eq=False, repr=False)
    memory: Literal["window", "recursive", "cumulative"] = "window"
    kind: Kind = "number"
    """`integer` for categories, `boolean` for 0 or 1."""

    def __attrs_post_init__(self) -> None:
        if not re.fullmatch(r"[a-z][a-z0-9_]*", self.name):
            raise ValueError(f"indicator {self.name!r}: a name consists of lower-case letters, digits and underscores")
        if self.look_back < 0 or self.warm_up < 0:
            raise ValueError(f"indicator {self.name}: look_back and warm_up must not be negative")
        unknown = [name for name in self.inputs if name not in INPUTS]
        if unknown or not self.inputs:
            raise ValueError(f"indicator {self.name}: inputs must be one or more of {', '.join(INPUTS)}, not {unknown}")
        if "\n" in self.formula or not self.formula:
            raise ValueError(f"indicator {self.name}: the formula must be one line")

    def to_json(self) -> dict[str, Any]:
        """All fields except the function, for manifests and records."""
        return {
            "name": self.name,
            "formula": self.formula,
            "inputs": list(self.inputs),
            "look_back": self.look_back,
            "warm_up": self.warm_up,
            "memory": self.memory,
            "kind": self.kind,
            "source": self.source,
        }


def window(
    name: str,
    formula: str,
    function: Callable[[Bars], Array],
    *,
    look_back: int,
    source: Source,
    inputs: tuple[str, ...] = ("close",),
    kind: Kind = "number",
) -> Indicator:
    """An indicator that depends only on the last rows: trustworthy as soon as its look-back is filled."""
    return Indicator(
        name=name,
        formula=formula,
        function=function,
        look_back=look_back,
        warm_up=look_back,
        source=source,
        inputs=inputs,
        kind=kind,
    )


def recursive(
    name: str,
    formula: str,
    function: Callable[[Bars], Array],
    *,
    look_back: int,
    start: int,
    source: Source = "TA-Lib",
    inputs: tuple[str, ...] = ("close",),
    kind: Kind = "number",
) -> Indicator:
    """An indicator with infinite memory. `start` is its first row with a value; after `look_back` more rows, earlier
    rows no longer matter.
    """
    found = window(name, formula, function, look_back=look_back, source=source, inputs=inputs, kind=kind)
    return evolve(found, warm_up=start + look_back, memory="recursive")
