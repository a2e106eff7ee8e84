"""All indicators and tiers by name: the built-in ones, and those of an experiment's plugins."""

from __future__ import annotations

import difflib
import importlib.metadata
from collections.abc import Iterable, Mapping, Sequence

from attrs import evolve, frozen

from scalecore.api.errors import ExperimentError, PluginError
from scalecore.api.plugins import Status, discover
from scalecore_market.indicators.base import Indicator
from scalecore_market.indicators.tiers import TIERS

__all__ = ["BUILTIN", "IndicatorRegistry", "builtin_registry", "load_registry"]

BUILTIN = "scalecore-market"
"""The provider of the indicators of this package."""


@frozen(kw_only=True)
class IndicatorRegistry:
    """Indicators and tiers by name; tiers are sequences of indicator names. `providers` names the distributions."""

    indicators: Mapping[str, Indicator]
    tiers: Mapping[str, Sequence[str]]
    providers: Mapping[str, str]

    def select(self, tier: str | Sequence[str], *, vix: bool = False) -> tuple[Indicator, ...]:
        """The indicators of a tier, or of a list of tiers and indicators, in order. `vix` appends those of the VIX.

        Raises ExperimentError if a name is unknown or appears twice.
        """
        chosen: list[str] = []
        for name in [*([tier] if isinstance(tier, str) else tier), *(["vix"] if vix else [])]:
            if name in self.tiers:
                chosen.extend(self.tiers[name])
            elif name in self.indicators:
                chosen.append(name)
            else:
                near = difflib.get_close_matches(name, [*self.tiers, *self.indicators], n=1)
                hint = f"did you mean {near[0]!r}?" if near else "`scalecore data indicators` lists them"
                raise ExperimentError(f"dataset.tier: there is no tier or indicator {name!r}; {hint}")
        twice = next((name for name in chosen if chosen.count(name) > 1), None)
        if twice is not None:
            raise ExperimentError(f"dataset.tier: {twice} appears twice; remove it from the list")
        return tuple(self.indicators[name] for name in chosen)

    def extended(
        self, indicators: Iterable[Indicator], *, tiers: Mapping[str, Sequence[str]], provider: str
    ) -> IndicatorRegistry:
        """This registry with additions. Raises PluginError if a name exists or a tier names an unknown indicator."""
        known, providers, all_tiers = dict(self.indicators), dict(self.providers), dict(self.tiers)
        for indicator in indicators:
            if indicator.name in known or indicator.name in self.tiers:
                owner = providers.get(indicator.name, "a tier")
                raise PluginError(f"{provider}: the indicator {indicator.name} already exists ({owner}); rename it")
            known[indicator.name], providers[indicator.name] = indicator, provider
        for name, members in tiers.items():
            if name in all_tiers or name in known:
                raise PluginError(f"{provider}: the tier {name} already exists; rename it")
            missing = next((member for member in members if member not in known), None)
            if missing is not None:
                raise PluginError(f"{provider}: the tier {name} names {missing}, which is not an indicator")
            all_tiers[name] = tuple(members)
        return evolve(self, indicators=known, tiers=all_tiers, providers=providers)


def builtin_registry() -> IndicatorRegistry:
    """The indicators and tiers of this package."""
    from scalecore_market.indicators import averages, momentum, risk, trend, vix, volatility, volume

    indicators = [
        indicator
        for module in (averages, momentum, volatility, volume, trend, risk, vix)
        for indicator in module.indicators()
    ]
    empty = IndicatorRegistry(indicators={}, tiers={}, providers={})
    return empty.extended(indicators, tiers=TIERS, provider=BUILTIN)


def load_registry(extensions: Sequence[str]) -> IndicatorRegistry:
    """The built-in registry with extensions, each named by an entry point in the group `scalecore`.

    The module of the entry point defines `market_indicators()`, which returns indicators, or `market_tiers()`, which
    returns a mapping from a tier's name to names of indicators. It may also contain hooks.

        def market_indicators():
            from my_plugin.indicators import gap_fill  # keep heavy imports inside

            return [
                Indicator(
                    name="gap_fill",
                    formula="1 if low <= close[t-1], else 0",
                    inputs=("low", "close"),
                    look_back=1,
                    warm_up=1,
                    kind="boolean",
                    source="numpy",
                    function=gap_fill,
                )
            ]

    Raises PluginError if an extension is not installed, is for another version of scalecore, cannot be imported, or
    defines neither function.
    """
    registry = builtin_registry()
    for name in extensions:
        found = list(importlib.metadata.entry_points(group="scalecore", name=name))
        if not found:
            raise PluginError(
                f"dataset.extensions: plugin {name!r} is not installed; `scalecore plugins` lists the installed ones"
            )
        entry = found[0]
        provider = f"{entry.dist.name} {entry.dist.version}" if entry.dist is not None else name
        for plugin in discover(only=entry.dist.name) if entry.dist is not None else ():
            if plugin.name == name and plugin.status is not Status.OK:
                raise PluginError(f"dataset.extensions: {plugin.provider} is {plugin.status}: {plugin.reason}")
        try:
            module = entry.load()
            indicators: list[Indicator] = list(getattr(module, "market_indicators", list)())
            tiers: dict[str, Sequence[str]] = dict(getattr(module, "market_tiers", dict)())
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            raise PluginError(
                f"{provider}: the extension {name!r} of the dataset market is broken: {reason}"
            ) from error
        if not indicators and not tiers:
            raise PluginError(f"{provider}: the plugin {name!r} has no market_indicators() and no market_tiers()")
        registry = registry.extended(indicators, tiers=tiers, provider=provider)
    return registry
