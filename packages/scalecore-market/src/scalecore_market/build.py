"""Builds a processed set of features from the prices in a store."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Sequence
from typing import Literal

from attrs import frozen

from scalecore.api.errors import DataError, ExperimentError
from scalecore_market.features import (
    align_vix,
    check_features,
    check_truncation,
    compute,
    definition,
    first_row,
    needs_vix,
)
from scalecore_market.indicators.registry import IndicatorRegistry
from scalecore_market.manifest import Entry, Source
from scalecore_market.store import Store, part_of_name, symbol_of

__all__ = ["Built", "build", "dataset_name", "software", "tier_name"]


@frozen(kw_only=True)
class Built:
    """A processed set, and whether it was written by this call."""

    entry: Entry
    fresh: bool


def tier_name(tier: str | Sequence[str], *, vix: bool) -> str:
    """`a25`, `a25.vix`, or `custom` for a list of more than one name."""
    names = [tier] if isinstance(tier, str) else list(tier)
    return (names[0] if len(names) == 1 else "custom") + (".vix" if vix else "")


def dataset_name(symbol: str, tier: str | Sequence[str], *, vix: bool) -> str:
    """`SPY.dataset.a25`, with the VIX `SPY.dataset.a25.vix`."""
    return f"{symbol_of(symbol)}.dataset.{tier_name(tier, vix=vix)}"


def software() -> dict[str, str]:
    """Versions of the packages that determine the values."""
    return {name: importlib.metadata.version(name) for name in ("scalecore-market", "TA-Lib", "numpy", "pandas")}


def build(
    store: Store,
    symbol: str,
    *,
    registry: IndicatorRegistry,
    tier: str | Sequence[str],
    vix: bool = False,
    vix_symbol: str = "VIX",
    vix_missing: Literal["refuse", "previous"] = "refuse",
    name: str | None = None,
) -> Built:
    """Compute the features of the newest prices of `symbol` and store them.

    An existing set is kept; a lost or damaged one is restored. The set has a row for every row of the prices, NaN in
    the warm-up. Raises DataError if a feature is not finite after its warm-up (G50) or a date of the VIX is missing,
    RefusedError if an indicator looks ahead (G51).
    """
    indicators = registry.select(tier, vix=vix)
    prices = store.raw(symbol)
    sources = {prices.name: Source(version=prices.version, checksum=prices.checksum)}
    uses_vix = needs_vix(indicators)
    if uses_vix:
        fear = store.raw(vix_symbol)
        sources[fear.name] = Source(version=fear.version, checksum=fear.checksum)
    what = definition(indicators, registry=registry, vix_missing=vix_missing)
    found = store.find_built(definition=what, sources=sources)
    if found is not None and store.intact(found):
        return Built(entry=found, fresh=False)
    if name is None and tier_name(tier, vix=vix).startswith("custom"):
        raise ExperimentError("a set of several tiers or indicators needs a name: use --name")
    table = store.load(prices)
    aligned = None
    if uses_vix:
        aligned = align_vix(table.dates, store.load(fear), missing=vix_missing, names=(prices.name, fear.name))
    bars = table.bars(vix=aligned)
    full_name = dataset_name(symbol, tier if name is None else part_of_name(name, what="name"), vix=vix)
    features = compute(indicators, bars, name=prices.name)
    start = first_row(indicators, bars=bars)
    if start >= len(bars):
        raise DataError(f"{prices.name}: {len(bars)} rows are too few: the features need {start} rows of warm-up")
    check_features(features, indicators, start=start, name=prices.name)
    check_truncation(indicators, bars, name=prices.name)
    if found is not None and found.checksum == features.checksum:
        store.restore(found, features)
        return Built(entry=found, fresh=True)
    entry = store.add_built(
        full_name,
        features,
        tier=full_name.split(".dataset.", 1)[1],
        sources=sources,
        definition=what,
        first_trusted=str(features.dates[start]),
        software=software(),
    )
    return Built(entry=entry, fresh=True)
