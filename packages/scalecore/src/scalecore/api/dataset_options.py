"""Options shared by all datasets: target, split, normalisation and reading.

A dataset's options class has these as nested fields. An option that its `kind` does not use is an error, so that every
line of an experiment file has an effect. `None` means the documented default of the kind.
"""

import codecs
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Lt
from attrs import frozen

from scalecore.api.options import option

__all__ = ["Normalisation", "ReadOptions", "Split", "TargetOptions"]

Normalisation = Literal["standard", "robust", "none"]
"""`standard`: subtract the mean, divide by the standard deviation. `robust`: subtract the median, divide by the
interquartile range. Both are fit on the input rows of training windows only.
"""


UNIX: Mapping[str, Literal["s", "ms"]] = {"unix": "s", "unix_ms": "ms"}
"""Values of `date_format` for times since 1970, with their unit."""


@frozen(kw_only=True)
class ReadOptions:
    """Format of times, numbers and text in the source of a table. It is not part of a study; the content is."""

    date_format: str | None = option(
        None,
        before=None,
        help="Format of times, such as `%m/%d/%Y` or `%Y%m%d`; `unix` and `unix_ms` are seconds and milliseconds "
        "since 1970. Default: ISO 8601, such as 2019-01-02 or 2019-01-02T15:30:00+01:00.",
    )
    zone: str | None = option(
        None,
        before=None,
        help="Time zone, such as `America/New_York`. Times with an offset are converted to it; times without one are "
        "local times of this zone.",
    )
    separator: str | None = option(
        None, before=None, help="Separator of a CSV file: a character, or `tab`. Default: comma."
    )
    decimal: Literal[".", ","] | None = option(
        None,
        before=None,
        help="Decimal mark of numbers stored as text. Default: point. If it is set, the other mark may group "
        "thousands, as in `1.234,5`.",
    )
    encoding: str | None = option(
        None,
        before=None,
        help="Encoding of a text file, such as `cp1252`. Default: UTF-8, or UTF-16 if the file starts with its byte "
        "order mark.",
    )

    def __attrs_post_init__(self) -> None:
        if self.zone is not None and not _is_zone(self.zone):
            raise ValueError(f"zone: unknown time zone {self.zone!r}; use a name such as America/New_York")
        if self.separator not in (None, "tab") and len(self.separator or "") != 1:
            raise ValueError(f"separator: {self.separator!r} is neither a single character nor `tab`")
        if self.encoding is not None and not _is_encoding(self.encoding):
            raise ValueError(f"encoding: unknown text encoding {self.encoding!r}; use a name such as cp1252")
        if self.date_format is not None and "%" not in self.date_format and self.date_format not in UNIX:
            raise ValueError(f"date_format: {self.date_format!r} contains no date field; use a format such as %m/%d/%Y")

    @property
    def delimiter(self) -> str:
        """The separator character."""
        return "\t" if self.separator == "tab" else self.separator or ","


@frozen(kw_only=True)
class TargetOptions:
    """The target, computed from prices. A window ends at row t; its label depends on the rows t+1 .. t+horizon.

    `threshold`: 1 if the price reaches CLOSE[t] * (1 + threshold). `direction`: 1 if CLOSE[t+horizon] >= CLOSE[t].
    `forward_return`: CLOSE[t+horizon] / CLOSE[t] - 1, a forecast.
    """

    kind: Literal["threshold", "direction", "forward_return"] = option(
        "threshold",
        help="Whether the price rises by a threshold (`threshold`) or rises (`direction`), or its relative change "
        "(`forward_return`).",
    )
    horizon: Annotated[int, Ge(1)] = option(1, help="Number of rows after a window that its label depends on.")
    threshold: Annotated[float, Ge(0)] | None = option(
        None, help="Rise for a label of 1, as a share. Default: 0.01, which is 1 %. Only for `threshold`."
    )
    price: Literal["close", "high"] | None = option(
        None, help="Price that must reach the threshold. Default: `high`. Only `threshold` may use highs."
    )
    rule: Literal["at_horizon", "max"] | None = option(
        None,
        help="Price at t+horizon (`at_horizon`), or its maximum over t+1 .. t+horizon (`max`). Only `threshold` may "
        "use `max`, its default.",
    )

    def __attrs_post_init__(self) -> None:
        if self.kind == "threshold":
            return
        if self.threshold is not None:
            raise ValueError(f"threshold belongs to `kind: threshold`, not to `kind: {self.kind}`")
        if self.price == "high":
            raise ValueError(f"`kind: {self.kind}` compares closes: omit price, or set it to close")
        if self.rule == "max":
            raise ValueError(f"`kind: {self.kind}` uses the price at t+horizon: omit rule, or set it to at_horizon")

    @property
    def task(self) -> Literal["binary", "forecast"]:
        """The task of this kind of target."""
        return "forecast" if self.kind == "forward_return" else "binary"


@frozen(kw_only=True)
class Split:
    """The division of the windows into train, validation and test. A window belongs to the part of its last row.

    `contiguous`: train, then validation, then test in time. `scattered`: the rows are cut into `blocks` equal
    stretches, each with train, validation and test in this order, so that all three parts see every regime.
    `walk-forward`: the rows after the first `train` share are cut into folds + 1 equal pieces; fold k trains on
    everything before piece k, validates on piece k and tests on piece k + 1.

    An option that is not set, and whose default does not fit the rows, gets a smaller value, which is flagged
    (`scalecore.data.layouts`). All windows are used, except those dropped between two parts (`purge`, `embargo`): they
    are dropped from training if it is one of the two parts, otherwise from validation; test keeps all its windows.
    """

    kind: Literal["contiguous", "scattered", "walk-forward"] = option("contiguous", help="How to divide the rows.")
    train: Annotated[float, Gt(0), Lt(1)] | None = option(
        None,
        help="Share of the rows for training. Default: 0.7; `scattered` uses 0.6 or 0.5 if validation would be too "
        "small. For `walk-forward`, the share before the folds. Default: 0.5, or 0.4 or 0.3 in that case.",
    )
    val: Annotated[float, Gt(0), Lt(1)] | None = option(
        None,
        help="Share of the rows for validation. Default: 0.15; `scattered` uses 0.25 or 0.35 if that is too small. "
        "Not for `walk-forward`.",
    )
    test: Annotated[float, Gt(0), Lt(1)] | None = option(
        None, help="Share of the rows for testing. Default: 0.15. Not for `walk-forward`."
    )
    val_from: str | None = option(
        None, help="First date of the validation windows, instead of shares. Only for `contiguous`."
    )
    test_from: str | None = option(None, help="First date of the test windows; required with `val_from`.")
    blocks: Annotated[int, Ge(1)] | None = option(
        None,
        help="Number of stretches of a `scattered` split. Default: 5, or fewer if the rows require it, at least 2.",
    )
    folds: Annotated[int, Ge(1)] | None = option(
        None, help="Number of folds of a `walk-forward` split. Default: 5, or fewer if the rows require it."
    )
    fold: Annotated[int, Ge(1)] | None = option(None, help="Fold to use, from 1. Default: the last one.")
    rolling: bool | None = option(
        None, help="For `walk-forward`: train only on the newest rows, as many as in the first fold. Default: false."
    )
    purge: Annotated[int, Ge(0)] | Literal["auto"] = option(
        "auto",
        help="Windows dropped between two parts so that they share no row. `auto`: context - 1 + horizon + look-back "
        "of the features, or without the look-back if there are too few rows, which is flagged. Minimum: "
        "context - 1 + horizon. [G54]",
    )
    embargo: Annotated[int, Ge(0)] | Literal["auto"] = option(
        "auto",
        help="Further windows dropped there, because neighbouring rows resemble each other. `auto`: the horizon.",
    )

    def __attrs_post_init__(self) -> None:
        self._refuse_unused()
        if self.kind == "contiguous" and (self.val_from is None) != (self.test_from is None):
            raise ValueError("val_from and test_from must be set together")
        if self.val_from is not None and self.test_from is not None:
            if (self.train, self.val, self.test) != (None, None, None):
                raise ValueError("set shares (train, val, test) or dates (val_from, test_from), not both")
            if _date("val_from", self.val_from) >= _date("test_from", self.test_from):
                raise ValueError(f"val_from ({self.val_from}) must be before test_from ({self.test_from})")
        elif self.kind != "walk-forward" and abs(sum(self.shares) - 1.0) > 1e-9:
            added = " + ".join(f"{share:g}" for share in self.shares)
            raise ValueError(f"train, val and test must add up to 1, not {added} = {sum(self.shares):g}")
        if self.kind == "walk-forward" and self.chosen_fold > self.fold_count:
            raise ValueError(f"fold {self.fold} of {self.fold_count} does not exist")

    def _refuse_unused(self) -> None:
        used = {
            "contiguous": ("train", "val", "test", "val_from", "test_from"),
            "scattered": ("train", "val", "test", "blocks"),
            "walk-forward": ("train", "folds", "fold", "rolling"),
        }
        for name in ("train", "val", "test", "val_from", "test_from", "blocks", "folds", "fold", "rolling"):
            if getattr(self, name) is not None and name not in used[self.kind]:
                known = ", ".join(used[self.kind])
                raise ValueError(f"{name} is not an option of `kind: {self.kind}`, which has {known}")

    @property
    def shares(self) -> tuple[float, float, float]:
        """Shares of train, validation and test with their defaults; not for a walk-forward split."""
        return (
            0.7 if self.train is None else self.train,
            0.15 if self.val is None else self.val,
            0.15 if self.test is None else self.test,
        )

    @property
    def first_train(self) -> float:
        """Share of the rows before the folds of a walk-forward split."""
        return 0.5 if self.train is None else self.train

    @property
    def block_count(self) -> int:
        """Number of stretches of a scattered split."""
        return 5 if self.blocks is None else self.blocks

    @property
    def fold_count(self) -> int:
        """Number of folds of a walk-forward split."""
        return 5 if self.folds is None else self.folds

    @property
    def chosen_fold(self) -> int:
        """The fold to use, from 1."""
        return self.fold_count if self.fold is None else self.fold


def _date(name: str, text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{name}: {text!r} is not a date such as 2019-01-02") from None
    if moment.tzinfo is not None:
        raise ValueError(f"{name}: {text!r} must not name a time zone")
    return moment


def _is_zone(name: str) -> bool:
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def _is_encoding(name: str) -> bool:
    try:
        # Codecs from bytes to bytes, such as hex, do not decode text.
        return isinstance(codecs.lookup(name).decode(b"")[0], str)
    except Exception:  # the standard library's codecs raise various errors for an unknown name or empty input
        return False
