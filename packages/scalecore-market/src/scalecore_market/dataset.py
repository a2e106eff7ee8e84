"""The dataset `market`: converts prices of one symbol to a panel of features and labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from attrs import frozen

from scalecore.api.errors import DataError, ExperimentError
from scalecore.api.panel import Panel
from scalecore.api.targets import labels, target_of
from scalecore_market.bars import Bars
from scalecore_market.build import dataset_name, software
from scalecore_market.features import (
    align_vix,
    check_features,
    check_truncation,
    common_warm_up,
    compute,
    definition,
    first_row,
    vix_notes,
)
from scalecore_market.indicators.base import Indicator
from scalecore_market.indicators.registry import BUILTIN, IndicatorRegistry, load_registry
from scalecore_market.manifest import Source
from scalecore_market.options import MarketOptions, ReadRules
from scalecore_market.price_checks import implausible, implausible_text
from scalecore_market.sources import read_raw
from scalecore_market.store import Store, raw_name, symbol_of
from scalecore_market.table import PriceTable
from scalecore_market.validate import missing_days, to_table, vix_table

__all__ = ["MarketDataset"]


@frozen(kw_only=True, eq=False)
class _Prices:
    """A table of prices, and its provenance for the study's record."""

    name: str
    label: str
    """The name in messages: that of the file, or of the table in the store."""
    table: PriceTable
    source: Source
    """Version 0 is a file outside a store."""
    origin: str
    notes: Sequence[str] = ()
    """Lines for the plan."""

    def to_json(self) -> dict[str, Any]:
        version = {} if self.source.version == 0 else {"version": self.source.version}
        return {
            "origin": self.origin,
            "checksum": self.source.checksum,
            **version,
            "first": self.table.first,
            "last": self.table.last,
        }


class MarketDataset:
    """A `scalecore.api.dataset.Dataset`.

    Rows: from `start`, or the end of the warm-up if that is later, to `end`. All prices before `start` warm the
    indicators up; prices after `end` are not used. Features are raw; labels come from the raw closes and highs (guard
    G06). A set that `scalecore data build` built from the same versions of the prices and the same definition is
    reused.
    """

    def __init__(self, options: MarketOptions) -> None:
        self._options = options

    def panel(self) -> Panel:
        options = self._options
        registry = load_registry(options.extensions)
        indicators = registry.select(options.tier, vix=options.vix)
        prices, vix = self._prices(), self._vix(indicators)
        used = [prices] if vix is None else [prices, vix]
        table = prices.table.between(None, options.end)
        if not len(table):
            raise DataError(
                f"{prices.label}: there are no rows up to {options.end}; the first date is {prices.table.first}"
            )
        aligned = None
        if vix is not None:
            names = (prices.label, vix.label)
            aligned = align_vix(table.dates, vix.table, missing=options.vix_missing, names=names)
        notes = [note for one in used for note in one.notes]
        if vix is not None:
            notes += vix_notes(table.dates, vix.table, names=(prices.label, vix.label))
        bars = table.bars(vix=aligned)
        common = common_warm_up(registry) if options.warm_up == "common" else 0
        trusted = first_row(indicators, bars=bars, at_least=common)
        begin = trusted
        if options.start is not None:
            begin = max(begin, int(np.searchsorted(table.dates, np.datetime64(options.start, "D"))))
        if begin >= len(table):
            raise DataError(
                f"{prices.label}: no rows are left: the features need {trusted} rows of warm-up, and there are "
                f"{len(table)} rows up to {table.last}" + (f"; start is {options.start}" if options.start else "")
            )
        features, built = self._features(indicators, registry=registry, bars=bars, used=used)
        check_features(features, indicators, start=begin, name=prices.label)
        look_back = max(indicator.look_back for indicator in indicators)
        target = target_of(options.target)
        price = table.columns["High" if target.price == "high" else "Close"]
        return Panel(
            name=dataset_name(options.symbol, options.tier, vix=options.vix),
            times=table.dates[begin:],
            values=np.column_stack([features.columns[indicator.name][begin:] for indicator in indicators]),
            labels=labels(target, close=table.columns["Close"], price=price)[begin:],
            features=tuple(indicator.name for indicator in indicators),
            target=target,
            context=options.context,
            split=options.split,
            normalise=options.normalise,
            look_back=look_back,
            # Moves before the first look-back do no harm: a later start avoids them.
            flags=[
                flag for one in used for flag in self._flags(one, table, first=begin - look_back, prices=one is prices)
            ],
            details={
                "symbol": symbol_of(options.symbol),
                "tier": options.tier,
                "sources": {one.name: one.to_json() for one in used},
                "built": built,
                "definition": definition(indicators, registry=registry, vix_missing=options.vix_missing),
                "first": str(table.dates[begin]),
                "last": table.last,
                "warm_up": trusted,
                "indicators": [{**one.to_json(), "provider": registry.providers[one.name]} for one in indicators],
                "software": software(),
                **({"notes": notes} if notes else {}),
            },
        )

    def _flags(self, one: _Prices, table: PriceTable, *, first: int, prices: bool) -> list[dict[str, str]]:
        """Implausible prices or VIX values on the dates of `table`, from row `first` (guard G58)."""
        symbol = self._options.symbol if prices else self._options.vix_symbol
        found = implausible(one.table, symbol=symbol, level=not prices)
        begin, end = table.dates[max(first, 1)], table.dates[-1]
        reached = [each for each in found if begin <= one.table.dates[each.row] <= end]
        if not reached:
            return []
        text = implausible_text(reached, table=one.table, name=one.label)
        return [{"guard": "G58", "kind": "implausible", "text": text}]

    def _prices(self) -> _Prices:
        options = self._options
        if options.store is not None:
            return self._stored(Store(options.store), options.symbol, version=options.version)
        assert options.file is not None  # checked by the options class
        raw = read_raw(options.file, symbol=options.symbol, rules=options.read)
        return self._file(options.file, options.symbol, table=to_table(raw, rules=options.read), rules=options.read)

    def _vix(self, indicators: Sequence[Indicator]) -> _Prices | None:
        options = self._options
        reading = [indicator.name for indicator in indicators if "vix" in indicator.inputs]
        if not reading:
            if options.vix_file is not None:
                raise ExperimentError(
                    "dataset.vix_file: no feature reads the VIX; write `vix: true`, or remove the file"
                )
            return None
        if options.store is not None:
            return self._stored(Store(options.store), options.vix_symbol)
        if options.vix_file is None:
            raise ExperimentError(f"dataset.vix_file: {', '.join(reading)} need the VIX; set a file of its prices")
        rules = options.vix_read or options.read
        try:
            raw = read_raw(options.vix_file, symbol=options.vix_symbol, rules=rules, close_only=True)
            table, notes = vix_table(raw, rules=rules)
        except DataError as error:
            # The remedy applies to the file of the VIX only.
            raise DataError(str(error).replace("read: {", "vix_read: {")) from None
        return self._file(options.vix_file, options.vix_symbol, table=table, notes=notes)

    def _stored(self, store: Store, symbol: str, *, version: int | None = None) -> _Prices:
        entry = store.raw(symbol, version=version)
        return _Prices(
            name=entry.name,
            label=entry.name,
            table=store.load(entry),
            source=Source(version=entry.version, checksum=entry.checksum),
            origin=entry.origin or entry.path,
        )

    def _file(
        self, file: Path, symbol: str, *, table: PriceTable, rules: ReadRules | None = None, notes: Sequence[str] = ()
    ) -> _Prices:
        if rules is not None:
            missing, count = missing_days(table, rules=rules)
            if len(missing):
                notes = [
                    f"{file.name}: {len(missing)} of {count} days of the calendar {rules.calendar} are missing, first "
                    f"{missing[0]}"
                ]
        source = Source(version=0, checksum=table.checksum)
        return _Prices(
            name=raw_name(symbol), label=file.name, table=table, source=source, origin=file.name, notes=notes
        )

    def _features(
        self, indicators: Sequence[Indicator], *, registry: IndicatorRegistry, bars: Bars, used: Sequence[_Prices]
    ) -> tuple[PriceTable, str | None]:
        """The feature columns on the dates of `bars`, and the name and version of the built set that was reused, if
        any.
        """
        options = self._options
        if options.store is not None:
            store = Store(options.store)
            entry = store.find_built(
                definition=definition(indicators, registry=registry, vix_missing=options.vix_missing),
                sources={one.name: one.source for one in used},
            )
            if entry is not None:
                # Indicators are causal: the first rows do not depend on the later ones (guard G51).
                return store.load(entry).slice(0, len(bars)), f"{entry.name} version {entry.version}"
        foreign = [indicator for indicator in indicators if registry.providers[indicator.name] != BUILTIN]
        if foreign:
            check_truncation(foreign, bars, name=used[0].label)
        return compute(indicators, bars, name=used[0].label), None
