"""Options of the dataset `market`."""

from datetime import date
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Ge, MinLen
from attrs import frozen

from scalecore.data.options import Normalisation, Split, TargetOptions
from scalecore.options import ExistingFile, option

__all__ = ["MarketOptions", "ReadRules", "is_date"]


@frozen(kw_only=True)
class ReadRules:
    """What a file of daily prices may look like."""

    zone: str | None = option(
        None,
        help="Zone of the exchange, such as `America/New_York`: times with an offset are converted to it before the "
        "date is taken. Without it every time must be midnight.",
    )
    max_gap: Annotated[int, Ge(1)] = option(
        7,
        help="Most calendar days from one row to the next; 7 is the longest close of the New York exchange since 1933.",
    )


@frozen(kw_only=True)
class MarketOptions:
    """`dataset: {use: market}`: daily prices of one symbol, as features of a tier.

    The prices come from `file`, or from `store`, a folder that `scalecore data` keeps, where every source has a version
    and a checksum.
    """

    symbol: Annotated[str, MinLen(1)] = option(help="Name of the symbol, such as `SPY`; `^` in front is left out.")
    file: ExistingFile | None = option(
        None, help="Parquet or CSV file of daily prices, as Yahoo and its tools write them."
    )
    store: Path | None = option(None, help="Folder of `scalecore data`; instead of `file`.")
    version: Annotated[int, Ge(1)] | None = option(
        None, help="Version of the symbol in the store; the newest by default."
    )
    tier: str | list[str] = option(
        "a25", help="`a25`, `a50`, `a100`, a tier of an extension, or a list of names of tiers and indicators."
    )
    vix: bool = option(False, help="Append the 8 features of the VIX.")
    vix_file: ExistingFile | None = option(
        None, help="File of the VIX, where `file` gives the prices; a50 and a100 need it too."
    )
    vix_symbol: Annotated[str, MinLen(1)] = option("VIX", help="Name of the VIX in the store.")
    vix_missing: Literal["refuse", "previous"] = option(
        "refuse", help="What a trading day without a VIX does: end with an error, or take the last VIX before it."
    )
    extensions: list[str] = option(
        factory=list,
        help="Plugins that add indicators and tiers, by the name of their entry point in the group `scalecore`.",
    )
    start: str | None = option(
        None, help="First date of the rows, such as 1999-03-10; earlier prices still warm indicators up."
    )
    end: str | None = option(None, help="Last date; later prices are not looked at, for labels either.")
    warm_up: Literal["common", "own"] = option(
        "common",
        help="Rows left out at the beginning: `common` as many as the slowest indicator of all built-in tiers needs, "
        "so that tiers have the same dates; `own` as many as the chosen ones need.",
    )
    context: Annotated[int, Ge(1)] = option(60, help="Rows of one window.")
    target: TargetOptions = option(factory=TargetOptions, help="What is predicted; from raw prices.")
    split: Split = option(factory=Split, help="Which windows train, validate and test.")
    normalise: Normalisation = option("standard", help="How features are scaled; fitted on training rows.")
    read: ReadRules = option(factory=ReadRules, help="What the files may look like; the store has checked its own.")

    def __attrs_post_init__(self) -> None:
        if (self.file is None) == (self.store is None):
            raise ValueError("give file or store, one of the two")
        unused = {
            "version": self.file is not None and self.version is not None,
            "vix_file": self.store is not None and self.vix_file is not None,
            "vix_symbol": self.file is not None and self.vix_symbol != "VIX",
            "read": self.store is not None and self.read != ReadRules(),
        }
        for name, wrong in unused.items():
            if wrong:
                raise ValueError(
                    f"{name} has no effect where the prices come from {'a file' if self.file else 'the store'}"
                )
        for name in ("start", "end"):
            text = getattr(self, name)
            if text is not None and not is_date(text):
                raise ValueError(f"{name}: {text!r} is not a date such as 1999-03-10")
        if self.start and self.end and self.start > self.end:
            raise ValueError(f"start ({self.start}) must not be after end ({self.end})")
        if not self.tier:
            raise ValueError("tier: name at least one tier or indicator")


def is_date(text: str) -> bool:
    """Whether `text` is written as 1999-03-10."""
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False
