"""What an indicator declares about itself."""

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

    `function` gets the bars and returns one value per row [rows], NaN where it is not defined yet. It is causal: the
    value of row t depends on rows up to t only (guard G51; checked by truncation). `inputs` are those of `bars.INPUTS`
    it reads.

    `look_back` is how many rows before its own a value is computed from. It depends on `memory`:

    - `window`: exactly, the value does not change when older rows do;
    - `recursive`: averages that never quite forget; the rows that carry 99 % of the weight, all older ones carry 1 %;
    - `cumulative`: running totals; the rows of one step. All older rows enter as one constant, the same in a whole
      window.

    `warm_up` is the first trustworthy row, counted from the first row on which all inputs exist: the look-back is
    filled, and of a recursive average the start carries 1 % at most.
    """

    name: str
    formula: str
    """One line; `x[t-n]` is n rows earlier, means and sums run over the last n rows."""
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
            raise ValueError(f"indicator {self.name!r}: a name has small letters, digits and underscores")
        if self.look_back < 0 or self.warm_up < 0:
            raise ValueError(f"indicator {self.name}: look_back and warm_up are numbers of rows, not negative")
        unknown = [name for name in self.inputs if name not in INPUTS]
        if unknown or not self.inputs:
            raise ValueError(f"indicator {self.name}: inputs are one or more of {', '.join(INPUTS)}; not {unknown}")
        if "\n" in self.formula or not self.formula:
            raise ValueError(f"indicator {self.name}: the formula is one line")

    def to_json(self) -> dict[str, Any]:
        """Everything but the function: what manifests and studies store."""
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
    """An indicator of the last rows only: trustworthy as soon as its look-back is filled."""
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
    """An indicator that never quite forgets: `start` is its first row with a value; `look_back` rows later the rows
    before have faded.
    """
    found = window(name, formula, function, look_back=look_back, source=source, inputs=inputs, kind=kind)
    return evolve(found, warm_up=start + look_back, memory="recursive")
