"""The definition of the target, and its labels from raw prices, before any transform (guards G06, G07)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import attrs
import numpy as np
import numpy.typing as npt
from attrs import field, frozen

from scalecore.api.errors import DataError
from scalecore.api.files import canonical_json

if TYPE_CHECKING:
    from scalecore.api.dataset_options import TargetOptions

__all__ = ["Target", "Task", "label_target", "labels", "target_of"]

Task = Literal["binary", "multiclass", "forecast"]


def _plain(columns: Mapping[str, str]) -> dict[str, str]:
    return dict(columns)


@frozen(kw_only=True)
class Target:
    """The meaning of a label. Only studies with equal target `hash` are comparable.

    `horizon` is the number of rows after its own that a label depends on. `columns` names the raw columns by role
    (`close`, `high`, or `label` for a column of labels). `outputs` is the number of logits: 1, or the number of
    classes.
    """

    kind: Literal["threshold", "direction", "forward_return", "label"]
    horizon: int
    threshold: float | None
    price: Literal["close", "high"] | None
    rule: Literal["at_horizon", "max"] | None
    columns: Mapping[str, str] = field(converter=_plain)
    task: Task
    outputs: int

    @property
    def label_span(self) -> int:
        """Rows after its own that a label depends on; also the number of consecutive windows with common label rows."""
        return self.horizon

    @property
    def hash(self) -> str:
        """SHA-256 of the definition, in hex."""
        return hashlib.sha256(canonical_json(self._fields()).encode()).hexdigest()

    @property
    def text(self) -> str:
        """The target as one line of text."""
        if self.kind == "label":
            return f"column {self.columns['label']} ({self.task})"
        if self.kind == "forward_return":
            return f"CLOSE[t+{self.horizon}] / CLOSE[t] - 1"
        if self.kind == "direction":
            return f"CLOSE[t+{self.horizon}] >= CLOSE[t]"
        price = (self.price or "").upper()
        future = f"{price}[t+{self.horizon}]" if self.rule == "at_horizon" else f"max({price}[t+1..t+{self.horizon}])"
        return f"{future} >= CLOSE[t] * (1 + {self.threshold:g})"

    def to_json(self) -> dict[str, Any]:
        """Return all fields, with the hash and the text."""
        return {**self._fields(), "hash": self.hash, "text": self.text}

    def _fields(self) -> dict[str, Any]:
        return attrs.asdict(self)


def target_of(options: TargetOptions, *, columns: Mapping[str, str] | None = None) -> Target:
    """Return the target that `options` define.

    `columns` names the raw columns of `close` and `high`; `Close` and `High` by default. At horizon 1 both rules are
    equal: the target then always has the rule `at_horizon`, so that its hash does not depend on the file's wording.
    """
    names = {"close": "Close", "high": "High", **(columns or {})}
    is_threshold = options.kind == "threshold"
    price = options.price or ("high" if is_threshold else "close")
    return Target(
        kind=options.kind,
        horizon=options.horizon,
        threshold=(0.01 if options.threshold is None else float(options.threshold)) if is_threshold else None,
        price=price,
        rule="at_horizon" if options.horizon == 1 else options.rule or ("max" if is_threshold else "at_horizon"),
        columns={role: names[role] for role in dict.fromkeys(("close", price))},
        task=options.task,
        outputs=1,
    )


def labels(target: Target, *, close: npt.ArrayLike, price: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Compute labels [rows] from raw prices [rows]: `close`, and `price`, the column that `target.price` names.

    The last `horizon` rows are NaN because their future is unknown, even if a part of it would already decide the
    label. Comparisons use float64 without a tolerance, `price >= close * (1 + threshold)`: a price equal to the level
    counts, and the product is rounded once.
    """
    if target.kind == "label":
        raise ValueError("the labels of `kind: label` are read from their column, not computed")
    close_rows = np.asarray(close, dtype=np.float64)
    price_rows = np.asarray(price, dtype=np.float64)
    if close_rows.ndim != 1 or close_rows.shape != price_rows.shape:
        raise ValueError(f"close {close_rows.shape} and price {price_rows.shape} must be two columns of one length")
    rows, horizon = len(close_rows), target.horizon
    result = np.full(rows, np.nan)
    if rows <= horizon:
        return result
    if target.rule == "max":
        future = np.lib.stride_tricks.sliding_window_view(price_rows[1:], horizon).max(axis=1)
    else:
        future = price_rows[horizon:]
    now = close_rows[: rows - horizon]
    if target.kind == "forward_return":
        result[: rows - horizon] = future / now - 1.0
    else:
        result[: rows - horizon] = future >= now * (1.0 + (target.threshold or 0.0))
    return result


def label_target(values: npt.NDArray[Any], *, column: str, horizon: int, task: Task | None = None) -> Target:
    """Return the target of a column of labels; `values` [rows] are NaN where a label is unknown.

    Without `task`, the task is derived: values that are all 0 or 1 are binary; other integers, and floats that are
    exactly 0, 1, 2, ... without gaps, are classes; everything else is a forecast. Raises DataError if the values do not
    fit the task.
    """
    numbers = np.asarray(values, dtype=np.float64)
    known = numbers[~np.isnan(numbers)]
    distinct = np.unique(known)
    if task is None:
        if np.isin(distinct, (0.0, 1.0)).all():
            task = "binary"
        else:
            whole = np.issubdtype(np.asarray(values).dtype, np.integer) or np.array_equal(
                distinct, np.arange(len(distinct))
            )
            task = "multiclass" if whole else "forecast"
    outputs = 1
    if task == "binary" and not np.isin(distinct, (0.0, 1.0)).all():
        odd = distinct[~np.isin(distinct, (0.0, 1.0))][0]
        raise DataError(f"column {column!r} contains {odd:g}: labels of a binary task are 0 or 1")
    if task == "multiclass":
        outputs = len(distinct)
        if not np.array_equal(distinct, np.arange(outputs)):
            seen = ", ".join(f"{value:g}" for value in distinct[:8])
            raise DataError(f"column {column!r} contains the classes {seen}: number them 0, 1, 2, ... without gaps")
        if outputs < 2:
            raise DataError(f"column {column!r} contains only one class; nothing can be learned from it")
    return Target(
        kind="label",
        horizon=horizon,
        threshold=None,
        price=None,
        rule=None,
        columns={"label": column},
        task=task,
        outputs=outputs,
    )
