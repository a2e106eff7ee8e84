"""The options that every dataset shares: the target, the splits, the normalisation.

A dataset's options class takes these as nested fields. An option that its kind does not use is refused, so that nothing
in an experiment file is dead. `None` stands for the documented default of the kind.
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
"""`standard`: less the mean, divided by the standard deviation. `robust`: less the median, divided by the range from
the first to the third quartile. Both are fit on the rows that training windows see, and on no others.
"""


UNIX: Mapping[str, Literal["s", "ms"]] = {"unix": "s", "unix_ms": "ms"}
"""Values of `date_format` that count from 1970, with their unit."""


@frozen(kw_only=True)
class ReadOptions:
    """How the source of a table writes times, numbers and text. Content decides a study, not how it was written."""

    date_format: str | None = option(
        None,
        before=None,
        help="How times are written, such as `%m/%d/%Y` or `%Y%m%d`; `unix` and `unix_ms` are seconds and milliseconds "
        "since 1970. By default ISO 8601, such as 2019-01-02 or 2019-01-02T15:30:00+01:00.",
    )
    zone: str | None = option(
        None,
        before=None,
        help="Zone of the times, such as `America/New_York`: times with an offset are converted to it before the date "
        "is taken; times without one are local times there.",
    )
    separator: str | None = option(
        None, before=None, help="Character between the cells of a CSV file, or `tab`; a comma by default."
    )
    decimal: Literal[".", ","] | None = option(
        None,
        before=None,
        help="Decimal mark of numbers kept as text; a point by default. Where it is given, the other of the two may "
        "group thousands, as in `1.234,5`.",
    )
    encoding: str | None = option(
        None,
        before=None,
        help="Encoding of a text file, such as `cp1252`; by default UTF-8, or UTF-16 where the file begins with its "
        "byte order mark.",
    )

    def __attrs_post_init__(self) -> None:
        if self.zone is not None and not _is_zone(self.zone):
            raise ValueError(f"zone: there is no time zone {self.zone!r}; write it as America/New_York")
        if self.separator not in (None, "tab") and len(self.separator or "") != 1:
            raise ValueError(f"separator: {self.separator!r} is not a single character, nor `tab`")
        if self.encoding is not None and not _is_encoding(self.encoding):
            raise ValueError(f"encoding: there is no text encoding {self.encoding!r}; write it as cp1252")
        if self.date_format is not None and "%" not in self.date_format and self.date_format not in UNIX:
            raise ValueError(f"date_format: {self.date_format!r} names no part of a date; write it as %m/%d/%Y")

    @property
    def delimiter(self) -> str:
        """The separator itself."""
        return "\t" if self.separator == "tab" else self.separator or ","


@frozen(kw_only=True)
class TargetOptions:
    """What is to be predicted from prices. A window ends at row t; its label looks at the rows t+1 .. t+horizon.

    `threshold`: 1 if the price reaches CLOSE[t] * (1 + threshold). `direction`: 1 if CLOSE[t+horizon] >= CLOSE[t].
    `forward_return`: CLOSE[t+horizon] / CLOSE[t] - 1, a forecast.
    """

    kind: Literal["threshold", "direction", "forward_return"] = option(
        "threshold",
        help="Does the price rise that far (`threshold`), at all (`direction`), or by how much (`forward_return`).",
    )
    horizon: Annotated[int, Ge(1)] = option(1, help="Rows ahead that the label looks at.")
    threshold: Annotated[float, Ge(0)] | None = option(
        None, help="The rise that makes a label 1, as a share: 0.01 is 1 %, the default. Only for `threshold`."
    )
    price: Literal["close", "high"] | None = option(
        None, help="The price that must reach the threshold; `high` by default. Only `threshold` may look at highs."
    )
    rule: Literal["at_horizon", "max"] | None = option(
        None,
        help="The price at t+horizon, or its maximum over t+1 .. t+horizon: the default of `threshold`, only there.",
    )

    def __attrs_post_init__(self) -> None:
        if self.kind == "threshold":
            return
        if self.threshold is not None:
            raise ValueError(f"threshold belongs to `kind: threshold`, not to `kind: {self.kind}`")
        if self.price == "high":
            raise ValueError(f"`kind: {self.kind}` compares closes: leave price out, or write close")
        if self.rule == "max":
            raise ValueError(f"`kind: {self.kind}` looks at t+horizon: leave rule out, or write at_horizon")

    @property
    def task(self) -> Literal["binary", "forecast"]:
        """What such labels are."""
        return "forecast" if self.kind == "forward_return" else "binary"


@frozen(kw_only=True)
class Split:
    """Which windows train, validate and test; a window belongs to the part in which its last input row lies.

    `contiguous`: train, then validation, then test in time. `scattered`: the rows are cut into `blocks` equal
    stretches, each with train, validation and test in this order, so that all three see every regime. `walk-forward`:
    the rows after the first `train` share are cut into folds + 1 equal pieces; fold k trains on all before piece k,
    validates on piece k and tests on piece k + 1. What is left out and does not fit the rows is chosen smaller, and
    flagged (`scalecore.data.layouts`). Every window of a part is used, but for those given up between two
    parts (`purge`, `embargo`): training gives them up where it is one of the two, else validation; test keeps all.
    """

    kind: Literal["contiguous", "scattered", "walk-forward"] = option("contiguous", help="How the rows are divided.")
    train: Annotated[float, Gt(0), Lt(1)] | None = option(
        None,
        help="Share of the rows that train: 0.7 by default, of `scattered` 0.6 or 0.5 where validation would be too "
        "small; for `walk-forward` the share before the folds, 0.5, or 0.4 or 0.3 there.",
    )
    val: Annotated[float, Gt(0), Lt(1)] | None = option(
        None,
        help="Share of the rows that validate; 0.15 by default, of `scattered` 0.25 or 0.35 where that is too small. "
        "Not for `walk-forward`.",
    )
    test: Annotated[float, Gt(0), Lt(1)] | None = option(
        None, help="Share of the rows that test; 0.15 by default. Not for `walk-forward`."
    )
    val_from: str | None = option(
        None, help="First date of the validation windows, instead of shares; only for `contiguous`."
    )
    test_from: str | None = option(None, help="First date of the test windows; goes with `val_from`.")
    blocks: Annotated[int, Ge(1)] | None = option(
        None, help="Stretches of a `scattered` split; 5 by default, or as many as fit the rows, at least 2."
    )
    folds: Annotated[int, Ge(1)] | None = option(
        None, help="Folds of a `walk-forward` split; 5 by default, or as many as fit the rows."
    )
    fold: Annotated[int, Ge(1)] | None = option(None, help="The fold to use, from 1; the last one by default.")
    rolling: bool | None = option(
        None, help="`walk-forward`: train on the newest rows only, as many as the first fold has; false by default."
    )
    purge: Annotated[int, Ge(0)] | Literal["auto"] = option(
        "auto",
        help="Windows given up between two parts so that they share no row: `auto` is context - 1 + horizon + "
        "look-back of the features, or without the look-back where the rows do not suffice for it, which is flagged; "
        "never less than context - 1 + horizon. [G54]",
    )
    embargo: Annotated[int, Ge(0)] | Literal["auto"] = option(
        "auto",
        help="Further windows given up there, since neighbouring rows resemble each other; `auto` is the horizon.",
    )

    def __attrs_post_init__(self) -> None:
        self._refuse_unused()
        if self.kind == "contiguous" and (self.val_from is None) != (self.test_from is None):
            raise ValueError("val_from and test_from go together")
        if self.val_from is not None and self.test_from is not None:
            if (self.train, self.val, self.test) != (None, None, None):
                raise ValueError("give shares (train, val, test) or dates (val_from, test_from), not both")
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
                raise ValueError(f"{name} is not an option of `kind: {self.kind}`, which takes {known}")

    @property
    def shares(self) -> tuple[float, float, float]:
        """Shares of train, validation and test, defaults filled in; not of a walk-forward split."""
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
        """Stretches of a scattered split."""
        return 5 if self.blocks is None else self.blocks

    @property
    def fold_count(self) -> int:
        """Folds of a walk-forward split."""
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
        # Codecs that turn bytes into bytes, such as hex, decode no text.
        return isinstance(codecs.lookup(name).decode(b"")[0], str)
    except Exception:  # the codecs of the standard library raise whatever they like for an unknown name or empty input
        return False
