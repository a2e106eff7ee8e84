"""Options of the dataset `market`."""

from datetime import date
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Ge, MinLen
from attrs import frozen

from scalecore.api.dataset_options import Normalisation, ReadOptions, Split, TargetOptions
from scalecore.api.options import ExistingFile, option

__all__ = ["MarketOptions", "ReadRules", "VendorColumns", "is_date"]


@frozen(kw_only=True)
class VendorColumns:
    """Columns by their role, spelt as in the file. A role that is not named is found by the names of Yahoo."""

    date: str | None = option(None, before=None, help="The dates.")
    open: str | None = option(None, before=None, help="The opening price.")
    high: str | None = option(None, before=None, help="The highest price.")
    low: str | None = option(None, before=None, help="The lowest price.")
    close: str | None = option(None, before=None, help="The closing price.")
    adj_close: str | None = option(None, before=None, help="The closing price adjusted for dividends.")
    volume: str | None = option(None, before=None, help="The volume in shares.")
    symbol: str | None = option(None, before=None, help="The symbol of each row, in a file of several.")


@frozen(kw_only=True)
class ReadRules(ReadOptions):
    """How a file of daily prices is written, and on which days the market trades."""

    zone: str | None = option(
        None,
        help="Zone of the exchange, such as `America/New_York`: times with an offset are converted to it before the "
        "date is taken, times without one are local times there. Without it every time must be midnight.",
    )
    max_gap: Annotated[int, Ge(1)] = option(
        7,
        help="Most calendar days from one row to the next; 7 is the longest close of the New York exchange since 1933.",
    )
    calendar: Literal["sessions", "business", "daily"] = option(
        "sessions",
        before="sessions",
        help="Days of the market: `sessions` Monday to Friday but for holidays, `business` all of Monday to Friday, "
        "`daily` all seven. The plan counts days of the latter two that are missing.",
    )
    columns: VendorColumns = option(
        factory=VendorColumns, before=VendorColumns(), help="Names of the columns where they are not those of Yahoo."
    )


@frozen(kw_only=True)
class MarketOptions:
    """`dataset: {use: market}`: daily prices of one symbol, as features of a tier.

    The prices come from `file`, or from `store`, a folder that `scalecore data` keeps, where every source has a version
    and a checksum.
    """

    symbol: Annotated[str, MinLen(1)] = option(help="Name of the symbol, such as `SPY`; `^` in front is left out.")
    file: ExistingFile | None = option(
        None,
        help="Parquet or CSV file of daily prices as Yahoo and its tools write them; `read` describes other vendors' "
        "files. Text files may be packed, as `.csv.gz`.",
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
    read: ReadRules = option(
        factory=ReadRules, help="How the files are written, and the market's days; the store has read its own."
    )
    vix_read: ReadRules | None = option(None, before=None, help="As `read`, for a `vix_file` that differs from `file`.")

    def __attrs_post_init__(self) -> None:
        if (self.file is None) == (self.store is None):
            raise ValueError("give file or store, one of the two")
        unused = {
            "version": self.file is not None and self.version is not None,
            "vix_file": self.store is not None and self.vix_file is not None,
            "vix_symbol": self.file is not None and self.vix_symbol != "VIX",
            "read": self.store is not None and self.read != ReadRules(),
            "vix_read": self.store is not None and self.vix_read is not None,
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
