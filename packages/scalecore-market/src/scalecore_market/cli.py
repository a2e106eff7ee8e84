"""The commands `scalecore data ...`. They raise errors of `scalecore.api.errors`; the caller prints them and sets the
exit code.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import click

from scalecore.api.commands import NewPath
from scalecore.api.errors import DataError, ExperimentError

if TYPE_CHECKING:
    from scalecore_market.options import ReadRules
    from scalecore_market.store import Incoming
    from scalecore_market.table import PriceTable

__all__ = ["data"]

_STORE = click.option("--store", type=NewPath(file_okay=False), required=True, help="Folder of the data store.")

_EXTENSIONS = click.option(
    "--extension",
    "extensions",
    multiple=True,
    metavar="PLUGIN",
    help="Plugin that adds indicators; repeatable.",
)


def _reading(command: Any) -> Any:
    for option in (
        click.option(
            "--max-gap",
            type=click.IntRange(min=1),
            default=7,
            show_default=True,
            help="Largest number of days between two rows.",
        ),
        click.option("--zone", help="Time zone of the exchange, such as America/New_York, if times are not midnight."),
        click.option(
            "--calendar",
            type=click.Choice(["sessions", "business", "daily"]),
            default="sessions",
            show_default=True,
            help="Trading days: Monday to Friday, without holidays (sessions) or all (business), or every day (daily).",
        ),
        click.option("--date-format", help="Format of the dates, such as %m/%d/%Y, unix or unix_ms."),
        click.option("--separator", help="Separator of a CSV file, or `tab`."),
        click.option("--decimal", type=click.Choice([".", ","]), help="Decimal mark of numbers in text."),
        click.option("--encoding", help="Encoding of a CSV file, such as cp1252."),
        click.option(
            "--column",
            "columns",
            multiple=True,
            metavar="ROLE=NAME",
            help="Column of the date, open, high, low, close, adj_close, volume or symbol; repeatable.",
        ),
        click.option("--end", metavar="DATE", help="Last date to read."),
        click.option("--start", metavar="DATE", help="First date to read."),
    ):
        command = option(command)
    return command


@click.group()
def data() -> None:
    """Manage daily prices and features built from them, with versions and checksums.

    \b
    Examples:
      scalecore data ingest SPY=spy_daily.csv --store market
      scalecore data list --store market
    """


@data.command()
@click.argument("files", nargs=-1, metavar="[SYMBOL=]FILE...")
@click.option(
    "--download", "symbols", multiple=True, metavar="SYMBOL", help="Download this symbol from Yahoo; repeatable."
)
@_STORE
@_reading
def ingest(files: tuple[str, ...], symbols: tuple[str, ...], store: Path, **reading: Any) -> None:
    """Validate files of daily prices and add them to the store, all or none.

    The symbol is the file's name without its suffix, or is written before it: SPY=spy_daily.csv. Dates that one of
    several symbols lacks are reported. Prices that differ from the store are refused: see `register`.

    \b
    Examples:
      scalecore data ingest SPY=spy_daily.csv VIX=vix_daily.csv --store market
      scalecore data ingest --download SPY --store market --start 1999-03-10
    """
    from scalecore_market.store import Store
    from scalecore_market.validate import different_dates

    if not files and not symbols:
        raise ExperimentError("scalecore data ingest: name at least one file, or --download SYMBOL")
    incoming = [_from_file(text, **reading) for text in files] + [_from_yahoo(symbol, **reading) for symbol in symbols]
    twice = next((one.symbol for one in incoming if [other.symbol for other in incoming].count(one.symbol) > 1), None)
    if twice is not None:
        raise ExperimentError(
            f"scalecore data ingest: {twice} appears twice; write SYMBOL=FILE to give the files different symbols"
        )
    notes = [note for one in incoming for note in one.notes]
    for note in [*notes, *different_dates({one.origin: one.table for one in incoming})]:
        click.echo(f"note: {note}")
    _warn(*incoming)
    for entry, state in Store(store).ingest(incoming):
        click.echo(f"{entry.name}  version {entry.version}  {entry.rows} rows  {entry.first} .. {entry.last}  {state}")


@data.command()
@click.argument("file", metavar="[SYMBOL=]FILE", required=False)
@click.option("--download", "symbol", metavar="SYMBOL", help="Download this symbol from Yahoo.")
@_STORE
@_reading
def register(file: str | None, symbol: str | None, store: Path, **reading: Any) -> None:
    """Add changed prices of a symbol to the store as its next version.

    \b
    Examples:
      scalecore data register SPY=spy_daily.csv --store market
    """
    from scalecore_market.store import Store

    if (file is None) == (symbol is None):
        raise ExperimentError("scalecore data register: name one file, or --download SYMBOL")
    incoming = _from_file(file, **reading) if file is not None else _from_yahoo(str(symbol), **reading)
    _warn(incoming)
    entry = Store(store).register(incoming)
    click.echo(f"{entry.name}  version {entry.version}  {entry.rows} rows  {entry.first} .. {entry.last}  new")


@data.command()
@click.argument("symbol")
@click.option(
    "--tier",
    "tiers",
    multiple=True,
    default=("a25",),
    show_default=True,
    help="Tier or indicator; repeatable.",
)
@click.option("--vix", is_flag=True, help="Append the 8 features of the VIX.")
@click.option("--vix-symbol", default="VIX", show_default=True, help="Name of the VIX in the store.")
@click.option(
    "--vix-missing",
    type=click.Choice(["refuse", "previous"]),
    default="refuse",
    show_default=True,
    help="On a trading day without a VIX: fail, or use the previous value.",
)
@_EXTENSIONS
@click.option("--name", help="Name for a set of several tiers or indicators.")
@_STORE
def build(
    symbol: str,
    tiers: tuple[str, ...],
    vix: bool,
    vix_symbol: str,
    vix_missing: Any,
    extensions: tuple[str, ...],
    name: str | None,
    store: Path,
) -> None:
    """Compute the features of a tier from the newest prices of SYMBOL, and store them.

    \b
    Examples:
      scalecore data build SPY --tier a25 --vix --store market
    """
    from scalecore_market.build import build as build_set
    from scalecore_market.indicators.registry import load_registry
    from scalecore_market.store import Store

    built = build_set(
        Store(store),
        symbol,
        registry=load_registry(extensions),
        tier=tiers[0] if len(tiers) == 1 else tiers,
        vix=vix,
        vix_symbol=vix_symbol,
        vix_missing=vix_missing,
        name=name,
    )
    entry = built.entry
    state = "new" if built.fresh else "unchanged"
    click.echo(
        f"{entry.name}  version {entry.version}  {len(entry.columns)} columns  {entry.rows} rows  "
        f"{entry.first} .. {entry.last}  trusted from {entry.first_trusted}  {state}"
    )


@data.command()
@_STORE
def verify(store: Path) -> None:
    """Verify a store: report missing, changed and orphaned files. The exit code is 4 if there are any.

    \b
    Examples:
      scalecore data verify --store market
    """
    from scalecore_market.store import Store

    report = Store(store).verify()
    for note in report.notes:
        click.echo(f"note: {note}")
    if report.problems:
        raise DataError("\n".join([*report.problems, f"{store}: {_count(len(report.problems), 'problem')}"]))
    click.echo(f"{store}: {_count(report.tables, 'table')}, no problems")


@data.command(name="list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON with all fields.")
@_STORE
def list_(as_json: bool, store: Path) -> None:
    """List the tables of the store.

    \b
    Examples:
      scalecore data list --store market --json
    """
    from scalecore_market.store import Store

    kept = Store(store)
    raw, processed = kept.entries("raw"), kept.entries("processed")
    if as_json:
        content = {"raw": [entry.to_json() for entry in raw], "processed": [entry.to_json() for entry in processed]}
        click.echo(json.dumps(content, indent=2))
        return
    width = max([len(entry.name) for entry in [*raw, *processed]], default=0)
    for entry in [*raw, *processed]:
        sources = ", ".join(f"{name} version {source.version}" for name, source in entry.sources.items())
        came = f"{len(entry.columns)} columns from {sources}" if sources else f"from {entry.origin}"
        dates = f"{entry.rows:>6} rows  {entry.first} .. {entry.last}"
        click.echo(f"{entry.name:{width}}  version {entry.version}  {dates}  {entry.checksum[:19]}  {came}")


@data.command()
@click.option("--tier", "tiers", multiple=True, help="Only indicators of this tier; repeatable.")
@_EXTENSIONS
@click.option("--json", "as_json", is_flag=True, help="Print JSON with all fields.")
def indicators(tiers: tuple[str, ...], extensions: tuple[str, ...], as_json: bool) -> None:
    """List the indicators with their look-backs, warm-ups and formulas.

    \b
    Examples:
      scalecore data indicators
      scalecore data indicators --tier a50 --json
    """
    from scalecore_market.indicators.registry import load_registry

    registry = load_registry(extensions)
    chosen = registry.select(tiers) if tiers else tuple(registry.indicators.values())
    if as_json:
        click.echo(
            json.dumps([{**one.to_json(), "provider": registry.providers[one.name]} for one in chosen], indent=2)
        )
        return
    width = max(len(one.name) for one in chosen)
    click.echo(f"{'name':{width}}  look-back  warm-up  memory      source  formula")
    for one in chosen:
        click.echo(
            f"{one.name:{width}}  {one.look_back:>9}  {one.warm_up:>7}  {one.memory:10}  {one.source:6}  {one.formula}"
        )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _warn(*incoming: Incoming) -> None:
    """Warn on stderr about implausible prices. They are accepted."""
    from scalecore_market.price_checks import remarks

    for one in incoming:
        for text in remarks(one.table, symbol=one.symbol, name=one.origin):
            click.echo(f"warning: {text}", err=True)


def _from_file(text: str, **reading: Any) -> Incoming:
    from scalecore.api.table_files import PACKED
    from scalecore_market.sources import read_raw
    from scalecore_market.store import Incoming, symbol_of
    from scalecore_market.validate import to_table, vix_table

    name, separator, rest = text.partition("=")
    path = Path(text if Path(text).is_file() or not separator else rest)
    bare = path.with_suffix("") if path.suffix.lower() in PACKED else path
    symbol, rules = symbol_of(bare.stem if path == Path(text) else name), _rules(reading)
    try:
        raw = read_raw(path, symbol=symbol, rules=rules, close_only=symbol == "VIX")
        # Only the closes of the VIX are used.
        table, notes = vix_table(raw, rules=rules) if symbol == "VIX" else (to_table(raw, rules=rules), [])
    except DataError as error:
        raise DataError(_as_flags(str(error))) from None
    table = _cut(table, origin=path.name, **reading)
    return Incoming(symbol=symbol, table=table, origin=path.name, notes=tuple(notes))


def _as_flags(text: str) -> str:
    """Replace the options of an experiment file in a message with those of this command line."""

    def flags(found: re.Match[str]) -> str:
        settings = [one.partition(": ") for one in found["settings"].split(", ")]
        names = [f"column {role}=" if found["columns"] else f"{role.replace('_', '-')} " for role, _, _ in settings]
        return " ".join(f"--{name}{value}" for name, (_, _, value) in zip(names, settings, strict=True))

    return re.sub(r"read: \{(?P<columns>columns: \{)?(?P<settings>[^{}]*)\}\}?", flags, text)


def _from_yahoo(symbol: str, **reading: Any) -> Incoming:
    from scalecore_market.download import download
    from scalecore_market.store import Incoming, symbol_of
    from scalecore_market.validate import to_table

    table = to_table(download(symbol, start=reading["start"]), rules=_rules(reading))
    origin = f"Yahoo {symbol}"
    return Incoming(symbol=symbol_of(symbol), table=_cut(table, origin=origin, **reading), origin=origin)


def _rules(reading: dict[str, Any]) -> ReadRules:
    from scalecore_market.options import ReadRules, VendorColumns

    names = dict(one.partition("=")[::2] for one in reading["columns"])
    known = [field.name for field in attrs.fields(VendorColumns)]
    if wrong := [one for one in reading["columns"] if one.partition("=")[0] not in known or "=" not in one]:
        raise ExperimentError(f"--column: {wrong[0]!r} is not ROLE=NAME; the roles are {', '.join(known)}")
    keys = ("zone", "max_gap", "calendar", "date_format", "separator", "decimal", "encoding")
    try:
        return ReadRules(columns=VendorColumns(**names), **{key: reading[key] for key in keys})
    except ValueError as error:
        raise ExperimentError(f"--{str(error).replace('date_format', 'date-format', 1)}") from None


def _cut(table: PriceTable, *, origin: str, start: str | None, end: str | None, **_: Any) -> PriceTable:
    from scalecore_market.options import is_date

    for name, text in (("--start", start), ("--end", end)):
        if text is not None and not is_date(text):
            raise ExperimentError(f"{name}: {text!r} is not a date such as 1999-03-10")
    cut = table.between(start, end)
    if not len(cut):
        raise DataError(f"{origin}: there are no rows from {start or table.first} to {end or table.last}")
    return cut
