"""A folder of versioned tables: raw prices, and the features built from them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
from attrs import frozen
from filelock import FileLock, Timeout

from scalecore.api.errors import DataError, ExperimentError, RefusedError
from scalecore.api.files import utc_now
from scalecore_market.manifest import Entry, Kind, Source, read_manifest, write_manifest
from scalecore_market.price_checks import remarks
from scalecore_market.table import PriceTable

__all__ = ["Incoming", "Store", "StoreReport", "part_of_name", "raw_name", "symbol_of"]

_LOCK_SECONDS = 30.0


def symbol_of(text: str) -> str:
    """The symbol without a leading `^`. Raises ExperimentError if it cannot be part of a file name."""
    return part_of_name(text.removeprefix("^"), what="symbol")


def part_of_name(text: str, *, what: str) -> str:
    """Return `text` if it can be part of a file name; otherwise raise ExperimentError."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9=_-]*(\.[A-Za-z0-9=_-]+)*", text):
        raise ExperimentError(f"{text!r} is not a {what}: use letters, digits, `=`, `-`, `_` and single dots")
    return text


def raw_name(symbol: str) -> str:
    """`SPY.OHLCV.daily`."""
    return f"{symbol_of(symbol)}.OHLCV.daily"


@frozen(kw_only=True)
class Incoming:
    """Validated prices to add to a store. `origin` is the name of their file or service."""

    symbol: str
    table: PriceTable
    origin: str
    notes: tuple[str, ...] = ()
    """Reports on ignored parts of the file."""


@frozen(kw_only=True)
class StoreReport:
    """The result of `verify`. `problems` make the store untrustworthy, `notes` do not. `tables` is the number read."""

    tables: int
    problems: tuple[str, ...]
    notes: tuple[str, ...]


class Store:
    """A folder with `raw.json`, `processed.json`, and the tables in `raw/` and `processed/`.

    A table is written before its manifest names it: a crash may leave an orphaned file, never a registered partial one.
    Versions are never overwritten. Several processes may read; writers wait for each other.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def entries(self, kind: Kind) -> list[Entry]:
        """All versions of all raw or processed tables."""
        if not self.folder.is_dir():
            raise DataError(f"{self.folder}: there is no such store; `scalecore data ingest` creates one")
        return read_manifest(self.folder, kind)

    def raw(self, symbol: str, *, version: int | None = None) -> Entry:
        """The newest or the requested version of a symbol's prices. Raises DataError if there is none."""
        name = raw_name(symbol)
        versions = {entry.version: entry for entry in self.entries("raw") if entry.name == name}
        if not versions:
            known = sorted({entry.name.removesuffix(".OHLCV.daily") for entry in self.entries("raw")})
            raise DataError(
                f"{self.folder}: {name} is not in the store, which has {', '.join(known) or 'no prices'}; "
                f"add it: scalecore data ingest {symbol}=FILE --store {self.folder}"
            )
        if version is None:
            return versions[max(versions)]
        if version not in versions:
            raise DataError(
                f"{self.folder}: {name} has no version {version}; it has {', '.join(map(str, sorted(versions)))}"
            )
        return versions[version]

    def load(self, entry: Entry) -> PriceTable:
        """The table of an entry. Raises RefusedError if its content has changed (guard G52)."""
        table = PriceTable.read(self.folder / entry.path)
        if table.checksum != entry.checksum:
            raise RefusedError(
                f"{self.folder / entry.path}: the content changed since {entry.name} version {entry.version} was "
                f"registered on {entry.time}. Restore the file, or register new prices as a new version with "
                "`scalecore data register`",
                guard="G52",
            )
        return table

    def intact(self, entry: Entry) -> bool:
        """Whether the table of an entry exists and is unchanged."""
        try:
            self.load(entry)
        except (DataError, RefusedError):
            return False
        return True

    def restore(self, entry: Entry, table: PriceTable) -> None:
        """Rewrite the table of an entry. The content must equal the registered one."""
        if table.checksum != entry.checksum:
            raise ValueError(f"this is not {entry.name} version {entry.version}")
        with self._locked():
            table.write(self.folder / entry.path)

    def ingest(self, incoming: list[Incoming]) -> list[tuple[Entry, Literal["new", "unchanged", "restored"]]]:
        """Add prices as version 1, all of them or none.

        Equal content of a known symbol changes nothing, or restores a lost or damaged table. Different content raises
        RefusedError (guard G52): use `register`.
        """
        with self._locked():
            known = {entry.name: entry for entry in read_manifest(self.folder, "raw")}
            for one in incoming:
                old = known.get(raw_name(one.symbol))
                if old is not None and old.checksum != one.table.checksum:
                    raise RefusedError(
                        f"{one.origin}: the prices differ from {old.name} version {old.version}: "
                        f"{self._difference(old, one.table)}. If they are right, register them as version "
                        f"{old.version + 1}: scalecore data register {one.symbol}=FILE",
                        guard="G52",
                    )
            fresh = [one for one in incoming if raw_name(one.symbol) not in known]
            added = iter(self._add_raw([(one, 1) for one in fresh]))
            result: list[tuple[Entry, Literal["new", "unchanged", "restored"]]] = []
            for one in incoming:
                old = known.get(raw_name(one.symbol))
                if old is None:
                    result.append((next(added), "new"))
                elif self.intact(old):
                    result.append((old, "unchanged"))
                else:
                    one.table.write(self.folder / old.path)
                    result.append((old, "restored"))
            return result

    def register(self, incoming: Incoming) -> Entry:
        """Add prices as the next version of their symbol. Raises RefusedError if they equal the newest version."""
        with self._locked():
            name = raw_name(incoming.symbol)
            old = [entry for entry in read_manifest(self.folder, "raw") if entry.name == name]
            if old and old[-1].checksum == incoming.table.checksum:
                raise RefusedError(f"{incoming.origin}: the prices equal those of {name} version {old[-1].version}")
            return self._add_raw([(incoming, old[-1].version + 1 if old else 1)])[0]

    def find_built(self, *, definition: str, sources: Mapping[str, Source]) -> Entry | None:
        """The newest processed set with this definition from these sources; None if there is none."""
        fits = [
            entry for entry in self.entries("processed") if entry.definition == definition and entry.sources == sources
        ]
        return fits[-1] if fits else None

    def add_built(
        self,
        name: str,
        table: PriceTable,
        *,
        tier: str,
        sources: Mapping[str, Source],
        definition: str,
        first_trusted: str,
        software: Mapping[str, str],
    ) -> Entry:
        """Write a processed set as the next version of its name."""
        with self._locked():
            entries = read_manifest(self.folder, "processed")
            version = 1 + max((entry.version for entry in entries if entry.name == name), default=0)
            entry = Entry(
                **self._common("processed", name, version, table),
                tier=tier,
                sources=dict(sources),
                definition=definition,
                first_trusted=first_trusted,
                software=dict(software),
            )
            self._write([(entry, table)], kind="processed", entries=[*entries, entry])
            return entry

    def verify(self) -> StoreReport:
        """Read all tables and file names, and find missing, changed and orphaned files."""
        problems: list[str] = []
        notes: list[str] = []
        raw, processed = self.entries("raw"), self.entries("processed")
        for entry in [*raw, *processed]:
            try:
                table = self.load(entry)
                if entry in raw:
                    notes.extend(remarks(table, symbol=entry.name.partition(".OHLCV")[0], name=entry.path))
            except RefusedError:
                problems.append(f"{entry.path}: changed: its content differs from {entry.name} version {entry.version}")
            except DataError as error:
                there = (self.folder / entry.path).exists()
                problems.append(f"{entry.path}: changed: {error}" if there else f"{entry.path}: missing")
        named = {entry.path for entry in [*raw, *processed]}
        for kind in ("raw", "processed"):
            files = sorted(path for path in (self.folder / kind).rglob("*") if path.is_file())
            paths = [path.relative_to(self.folder).as_posix() for path in files]
            problems.extend(f"{path}: orphaned: not in a manifest" for path in paths if path not in named)
        newest = {entry.name: entry.version for entry in raw}
        registered = {(entry.name, entry.version): entry.checksum for entry in raw}
        for entry in processed:
            for name, source in entry.sources.items():
                if registered.get((name, source.version)) != source.checksum:
                    problems.append(
                        f"{entry.path}: orphaned: it was built from another {name} version {source.version}"
                    )
                elif newest[name] > source.version:
                    notes.append(
                        f"{entry.path}: built from {name} version {source.version}, the newest is {newest[name]}"
                    )
        return StoreReport(tables=len(raw) + len(processed), problems=tuple(problems), notes=tuple(notes))

    def _add_raw(self, incoming: list[tuple[Incoming, int]]) -> list[Entry]:
        added = [
            (Entry(**self._common("raw", raw_name(one.symbol), version, one.table), origin=one.origin), one.table)
            for one, version in incoming
        ]
        if added:
            self._write(added, kind="raw", entries=[*read_manifest(self.folder, "raw"), *(entry for entry, _ in added)])
        return [entry for entry, _ in added]

    def _common(self, kind: Kind, name: str, version: int, table: PriceTable) -> dict[str, Any]:
        return {
            "name": name,
            "version": version,
            "path": f"{kind}/{name}.v{version}.parquet",
            "checksum": table.checksum,
            "time": utc_now(),
            "rows": len(table),
            "first": table.first,
            "last": table.last,
            "columns": tuple(table.columns),
        }

    def _write(self, added: list[tuple[Entry, PriceTable]], *, kind: Kind, entries: list[Entry]) -> None:
        (self.folder / kind).mkdir(exist_ok=True)
        written: list[Path] = []
        try:
            for entry, table in added:
                written.append(self.folder / entry.path)
                table.write(written[-1])
            write_manifest(self.folder, kind, entries)
        except BaseException:
            for path in written:
                path.unlink(missing_ok=True)
            raise

    def _difference(self, old: Entry, table: PriceTable) -> str:
        """Describe the differences between new prices and a version."""
        if not self.intact(old):
            return f"its table {old.path} is missing or damaged and cannot be compared"
        before = self.load(old)
        parts = []
        for text, days in (
            ("added", np.setdiff1d(table.dates, before.dates)),
            ("missing", np.setdiff1d(before.dates, table.dates)),
        ):
            if len(days):
                parts.append(f"{len(days)} rows {text}, first on {days[0]}")
        _, left, right = np.intersect1d(before.dates, table.dates, return_indices=True)
        for name in [*before.columns, *(name for name in table.columns if name not in before.columns)]:
            if name not in table.columns or name not in before.columns:
                parts.append(f"column {name} {'added' if name in table.columns else 'missing'}")
                continue
            was, now = before.columns[name][left], table.columns[name][right]
            rows = np.flatnonzero(was != now)
            if len(rows):
                day = before.dates[left[rows[0]]]
                parts.append(
                    f"{name} changed in {len(rows)} rows, first on {day} from {was[rows[0]]:g} to {now[rows[0]]:g}"
                )
        return "; ".join(parts)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(self.folder / ".lock", timeout=_LOCK_SECONDS):
                yield
        except Timeout:
            raise RefusedError(
                f"{self.folder}: another `scalecore data` command is writing to this store; try again"
            ) from None
