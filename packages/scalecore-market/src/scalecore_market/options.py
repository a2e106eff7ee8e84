"""The options of the dataset `market`."""

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
    """Columns by role, spelt as in the file. A role without a name is found by Yahoo's names."""

    date: str | None = option(None, before=None, help="The dates.")
    open: str | None = option(None, before=None, help="The opening price.")
    high: str | None = option(None, before=None, help="The highest price.")
    low: str | None = option(None, before=None, help="The lowest price.")
    close: str | None = option(None, before=None, help="The closing price.")
    adj_close: str | None = option(None, before=None, help="The closing price adjusted for dividends.")
    volume: str | None = option(None, before=None, help="The volume in shares.")
    symbol: str | None = option(None, before=None, help="The symbol of each row, in a file with several symbols.")


@frozen(kw_only=True)
class ReadRules(ReadOptions):
    """The format of a file of daily prices, and the trading days of the market."""

    zone: str | None = option(
        None,
        help="Time zone of the exchange, such as `America/New_York`. Times with an offset are converted to it; times "
        "without an offset are local times. Without a zone, all times must be midnight.",
    )
    max_gap: Annotated[int, Ge(1)] = option(
        7,
        help="Largest number of calendar days between two rows; 7 is the longest closure of the New York exchange "
        "since 1933.",
    )
    calendar: Literal["sessions", "business", "daily"] = option(
        "sessions",
        before="sessions",
        help="Trading days: `sessions`: Monday to Friday except holidays, `business`: Monday to Friday, `daily`: all "
        "seven. For the last two, the plan counts missing days.",
    )
    columns: VendorColumns = option(
        factory=VendorColumns, before=VendorColumns(), help="Names of the columns, if they differ from Yahoo's."
    )


@frozen(kw_only=True)
class MarketOptions:
    """`dataset: {use: market}`: daily prices of one symbol, as features of a tier.

    The prices come from `file`, or from `store`, a folder managed by `scalecore data` in which every source has a
    version and a checksum.
    """

    symbol: Annotated[str, MinLen(1)] = option(help="Symbol, such as `SPY`; a leading `^` is ignored.")
    file: ExistingFile | None = option(
        None,
        help="Parquet or CSV file of daily prices in Yahoo's format; `read` describes other vendors' files. Text files "
        "may be compressed, such as `.csv.gz`.",
    )
    store: Path | None = option(None, help="Folder managed by `scalecore data`, instead of `file`.")
    version: Annotated[int, Ge(1)] | None = option(
        None, help="Version of the symbol in the store; the newest by default."
    )
    tier: str | list[str] = option(
        "a25", help="`a25`, `a50`, `a100`, a tier of an extension, or a list of names of tiers and indicators."
    )
    vix: bool = option(False, help="Append the 8 features of the VIX.")
    vix_file: ExistingFile | None = option(
        None, help="File of the VIX, used with `file`; required for `vix`, a50 and a100."
    )
    vix_symbol: Annotated[str, MinLen(1)] = option("VIX", help="Name of the VIX in the store.")
    vix_missing: Literal["refuse", "previous"] = option(
        "refuse", help="On a trading day without a VIX: fail, or use the previous value."
    )
    extensions: list[str] = option(
        factory=list,
        help="Plugins with additional indicators and tiers, by their entry point in the group `scalecore`.",
    )
    start: str | None = option(
        None, help="First date of the rows, such as 1999-03-10. Earlier prices still warm indicators up."
    )
    end: str | None = option(None, help="Last date. Later prices are not used, not even for labels.")
    warm_up: Literal["common", "own"] = option(
        "common",
        help="Rows to skip at the beginning: `common`: as many as the slowest indicator of all built-in tiers needs, "
        "so that all tiers have the same dates; `own`: as many as the chosen indicators need.",
    )
    context: Annotated[int, Ge(1)] = option(60, help="Rows of one window.")
    target: TargetOptions = option(factory=TargetOptions, help="Target, computed from raw prices.")
    split: Split = option(factory=Split, help="Split into training, validation and test windows.")
    normalise: Normalisation = option("standard", help="Scaling of features, fitted on training rows.")
    read: ReadRules = option(factory=ReadRules, help="Format of the files and trading days; not with `store`.")
    vix_read: ReadRules | None = option(None, before=None, help="As `read`, for a `vix_file` that differs from `file`.")

    def __attrs_post_init__(self) -> None:
        if (self.file is None) == (self.store is None):
            raise ValueError("set either file or store")
        unused = {
            "version": self.file is not None and self.version is not None,
            "vix_file": self.store is not None and self.vix_file is not None,
            "vix_symbol": self.file is not None and self.vix_symbol != "VIX",
            "read": self.store is not None and self.read != ReadRules(),
            "vix_read": self.store is not None and self.vix_read is not None,
        }
        for name, wrong in unused.items():
            if wrong:
                raise ValueError(f"{name} has no effect on prices from {'a file' if self.file else 'the store'}")
        for name in ("start", "end"):
            text = getattr(self, name)
            if text is not None and not is_date(text):
                raise ValueError(f"{name}: {text!r} is not a date such as 1999-03-10")
        if self.start and self.end and self.start > self.end:
            raise ValueError(f"start ({self.start}) must not be after end ({self.end})")
        if not self.tier:
            raise ValueError("tier: name at least one tier or indicator")


def is_date(text: str) -> bool:
    """Whether `text` is a date such as 1999-03-10."""
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False
