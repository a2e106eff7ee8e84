"""Finds the columns by Yahoo's names or the user's mapping, and the rows of the requested symbol."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from scalecore.api.errors import DataError

if TYPE_CHECKING:
    from scalecore_market.options import VendorColumns

__all__ = ["COLUMNS", "Names", "date_column", "is_date_name", "price_columns", "several_values", "symbol_rows"]

COLUMNS = ("Open", "High", "Low", "Close", "Adj Close", "Volume")
"""The stored columns, in this order; the last two are optional."""

Names = Sequence[tuple[Any, ...]]
"""Names of the columns: single names, or pairs of price and ticker."""

_NAMES = {re.sub(r"[^a-z]", "", name.lower()): name for name in COLUMNS} | {"adjustedclose": "Adj Close"}
_DATES = {"date", "datetime", "timestamp", "time"}
_UNNAMED = {"", "index", "unnamed"}
"""Names of an unnamed index in files. They are read as dates if no column has a name of dates."""
_SYMBOLS = ("symbol", "ticker", "tic", "sym", "tickersymbol", "stocksymbol", "actsymbol", "tscode", "ric", "instrument")
_PERHAPS_SYMBOLS = ("name", "code", "stock", "security", "asset", "pair")
"""Ambiguous names: read as symbols if their values look like symbols."""
_TICKER = re.compile(r"\^?[A-Z0-9][A-Z0-9.=/-]{0,11}")
_STEMS = {
    "date": ("dat", "time", "zeit", "fecha", "day", "tag"),
    "open": ("open", "er", "ouv", "aper", "first", "start"),
    "high": ("high", "hoch", "max", "haut", "hi"),
    "low": ("low", "tief", "min", "bas", "lo"),
    "close": ("close", "schlu", "last", "price", "clot", "cier", "end", "settle", "letzt", "kurs"),
}
"""First letters of a role's names in other sources. They are used for suggestions in messages only."""


def is_date_name(name: Any) -> bool:
    """Whether an index with this name contains dates."""
    return name is not None and _key(name) in _DATES


def date_column(names: Names, *, origin: str, columns: VendorColumns, close_only: bool = False) -> int:
    """The position of the dates."""
    words = [parts[0] for parts in names]
    if columns.date is not None:
        return _named("date", columns.date, words, origin=origin)
    for wanted in (_DATES, _UNNAMED):
        for index, name in enumerate(words):
            if _key(name) in wanted:
                return index
    wanted_roles = ("date", "close") if close_only else tuple(_STEMS)
    roles = [role for role in wanted_roles if role not in {_key(word) for word in words}]
    listed = ", ".join(str(word) for word in words)
    raise DataError(f"{origin}: there is no column Date; the columns are {listed}. {_suggestion(roles, words)}")


def price_columns(
    names: Sequence[tuple[int, tuple[Any, ...]]],
    *,
    origin: str,
    symbol: str,
    columns: VendorColumns,
    close_only: bool = False,
) -> dict[str, int]:
    """Positions of the price columns, for one symbol."""
    words = [parts[0] for _, parts in names]
    mapped = {
        name: names[_named(role, written, words, origin=origin)][0]
        for name in COLUMNS
        if (written := getattr(columns, role := name.lower().replace(" ", "_"))) is not None
    }
    # In pairs of price and ticker, either may come first; LOW and OPEN are also tickers.
    levels = range(max((len(parts) for _, parts in names), default=0))
    prices = {_key(name) for name in COLUMNS[:4]}
    level = next((one for one in levels if prices <= {_key(parts[one]) for _, parts in names}), 0)
    found: dict[str, dict[str, int]] = {}
    for index, parts in names:
        name = _NAMES.get(_key(parts[level]))
        if name is not None and name not in mapped and index not in mapped.values():
            ticker = "".join(str(part) for one, part in enumerate(parts) if one != level).lstrip("^").upper()
            if name in found.setdefault(ticker, {}):
                role = name.lower().replace(" ", "_")
                raise DataError(
                    f"{origin}: column {name} appears twice; choose one: read: {{columns: {{{role}: ...}}}}"
                )
            found[ticker][name] = index
    wanted = "" if set(found) <= {""} else symbol.lstrip("^").upper()
    if wanted not in found and found:
        raise DataError(f"{origin}: the file contains {', '.join(sorted(found))}, not {wanted}")
    taken = {**found.get(wanted, {}), **mapped}
    missing = [name for name in (("Close",) if close_only else COLUMNS[:4]) if name not in taken]
    if missing:
        listed = ", ".join(str(word) for word in words)
        several = f"columns {', '.join(missing)} are" if len(missing) > 1 else f"column {missing[0]} is"
        free = [word for (index, _), word in zip(names, words, strict=True) if index not in taken.values()]
        remedy = _suggestion([name.lower() for name in missing], free)
        raise DataError(f"{origin}: {several} missing; the file has {listed}. {remedy}")
    return {name: taken[name] for name in COLUMNS if name in taken}


def symbol_rows(
    free: Mapping[str, list[Any]],
    *,
    origin: str,
    symbol: str,
    columns: VendorColumns,
    place: Callable[[int], str],
) -> list[int] | None:
    """The rows of `symbol`, by a column of symbols among the `free` columns; None without such a column.

    Raises DataError if the column contains only other symbols, or lacks a symbol in a row.
    """
    wanted = _bare(symbol)
    column = _symbol_column(free, wanted=wanted, origin=origin, named=columns.symbol)
    if column is None:
        return None
    cells = [_bare(cell) for cell in free[column]]
    known = list(dict.fromkeys(cells))
    if "" in known:
        raise DataError(f"{origin}: column {column}: {place(cells.index(''))}: there is no symbol")
    if known and wanted not in known:
        listed = ", ".join(known[:10]) + (f" and {len(known) - 10} more" if len(known) > 10 else "")
        raise DataError(
            f"{origin}: the file contains {listed}, not {wanted} (column {column}); use a file of {wanted}, or a "
            f"symbol of this file, such as {known[0]}"
        )
    return [at for at, cell in enumerate(cells) if cell == wanted]


def _symbol_column(free: Mapping[str, list[Any]], *, wanted: str, origin: str, named: str | None) -> str | None:
    if named is not None:
        return list(free)[_named("symbol", named, list(free), origin=origin)]
    keys = {_key(name): name for name in reversed(list(free))}
    if (certain := next((keys[key] for key in _SYMBOLS if key in keys), None)) is not None:
        return certain
    for name, cells in free.items():
        known = {_bare(cell) for cell in cells}
        if len(known) > 1 and wanted in known:
            return name
    for key in _PERHAPS_SYMBOLS:
        if key in keys and _look_like_symbols(free[keys[key]]):
            return keys[key]
    return None


def _look_like_symbols(cells: list[Any]) -> bool:
    known = {str(cell).strip() for cell in cells}
    letters = any(any(character.isalpha() for character in one) for one in known)
    return letters and len(known) <= max(1, len(cells) // 2) and all(_TICKER.fullmatch(one) for one in known)


def several_values(free: Mapping[str, list[Any]]) -> str:
    """A hint for a message about duplicate dates: an unused column with a few distinct words."""
    for name, cells in free.items():
        known = list(dict.fromkeys(str(cell) for cell in cells))
        if 2 <= len(known) <= len(cells) // 2 and not all(re.fullmatch(r"[-+.\d]*", one) for one in known):
            listed = ", ".join(known[:5]) + (" ..." if len(known) > 5 else "")
            return (
                f"column {name} contains {len(known)} values ({listed}): if they name series, write read: {{columns: "
                f"{{symbol: {_quoted(name)}}}}}, and use one of them as the symbol"
            )
    return ""


def _named(role: str, name: str, words: Sequence[Any], *, origin: str) -> int:
    """The position of a column that the user named."""
    found = [index for index, word in enumerate(words) if str(word) == name]
    if len(found) == 1:
        return found[0]
    listed = ", ".join(str(word) for word in words)
    what = f"there are {len(found)} columns" if found else "there is no column"
    raise DataError(f"{origin}: {what} {name!r} (read.columns.{role}); the columns are {listed}")


def _suggestion(roles: Sequence[str], words: Sequence[Any]) -> str:
    """The option that maps the missing roles, with guesses from the names."""
    pairs, left = [], [str(word) for word in words]
    for role in roles:
        guess = next((word for word in left if _key(word).startswith(_STEMS[role]) or role in _key(word)), None)
        if guess is not None:
            left.remove(guess)
        pairs.append(f"{role}: {'...' if guess is None else _quoted(guess)}")
    return f"Name the columns: read: {{columns: {{{', '.join(pairs)}}}}}"


def _quoted(name: str) -> str:
    """The name, quoted for YAML if necessary."""
    return name if re.fullmatch(r"[^\W\d][\w /.-]*", name) else "'" + name.replace("'", "''") + "'"


def _bare(symbol: Any) -> str:
    """A symbol for comparison, with `-` for characters that a symbol must not contain: `BTC-USD` for `BTC/USD`."""
    text = "" if symbol is None or symbol != symbol else str(symbol).strip().lstrip("^").upper()
    return re.sub(r"[^A-Z0-9=_.-]+", "-", text).strip("-") or text


def _key(name: Any) -> str:
    return re.sub(r"[^a-z]", "", str(name).lower())
