"""Daily prices from Yahoo Finance, through yfinance if it is installed."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from scalecore.api.errors import DataError, PluginError
from scalecore_market.sources import Raw, from_frame

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Fetch", "download", "yahoo"]

Fetch = Callable[[str, str, str], "pd.DataFrame"]
"""Takes Yahoo's symbol, the first date and the end date (exclusive); returns a frame of daily prices, maybe empty."""


def download(
    symbol: str,
    *,
    start: str | None = None,
    end: str | None = None,
    fetch: Fetch | None = None,
    tries: int = 4,
    pause: float = 2.0,
    sleep: Callable[[float], None] = time.sleep,
) -> Raw:
    """The cells of Yahoo's response, in the same form as those of a file. `to_table` checks them.

    `start` is the first date, `end` is exclusive and defaults to today, because prices of a running session still
    change. An error or an empty response is retried, up to `tries` attempts, after `pause` seconds, doubled each time.
    Prices are adjusted for splits only; `Adj Close` is a separate column. Raises DataError if no attempt returned
    prices, PluginError without yfinance.
    """
    fetch = yahoo if fetch is None else fetch
    until = datetime.now(UTC).date().isoformat() if end is None else end
    reason = ""
    for attempt in range(tries):
        if attempt:
            sleep(pause * 2.0 ** (attempt - 1))
        try:
            frame = fetch(symbol, start or "1900-01-01", until)
        except PluginError:
            raise
        except Exception as error:  # errors of yfinance, its HTTP client and pandas
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            continue
        if frame is not None and len(frame):
            return from_frame(frame, origin=f"Yahoo {symbol}", symbol=symbol)
        reason = "the response was empty"
    raise DataError(
        f"Yahoo {symbol}: no prices after {tries} attempts ({reason}). Check the symbol on Yahoo Finance, or try again "
        "later: Yahoo limits the rate of requests"
    )


def yahoo(symbol: str, start: str, end: str) -> pd.DataFrame:
    """Send one request through yfinance. Raises PluginError if it is not installed."""
    try:
        import yfinance  # type: ignore[import-not-found, unused-ignore]  # an extra: may not be installed
    except ImportError:
        raise PluginError("yfinance is not installed: pip install 'scalecore-market[download]'") from None
    frame: pd.DataFrame = yfinance.Ticker(symbol).history(
        start=start, end=end, interval="1d", auto_adjust=False, actions=False
    )
    return frame
