"""From a name in the experiment file to a component, or to the reason why there is none."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

from attrs import field, frozen
from packaging.utils import canonicalize_name

from scalecore.errors import ExperimentError, PluginError
from scalecore.plugins.discovery import CORE, Plugin, Status, discover, refuse_name_clashes
from scalecore.plugins.kinds import KINDS
from scalecore.plugins.manager import load_plugin
from scalecore.records import Record

__all__ = ["Registered", "Registry", "known_provider", "load_registry"]

_PROVIDERS: Mapping[tuple[str, str], str] = MappingProxyType(
    {
        ("model", "patchtst"): "scalecore-patchtst",
        ("search", "architectural"): "scalecore-optuna",
        ("monitor", "memory"): "scalecore-hwmon",
        ("monitor", "thermal"): "scalecore-hwmon",
        ("monitor", "disk"): "scalecore-hwmon",
        ("monitor", "gpu"): "scalecore-hwmon",
        ("dataset", "market"): "scalecore-market",
        ("logger", "tensorboard"): "scalecore-trackers",
        ("logger", "mlflow"): "scalecore-trackers",
        ("logger", "wandb"): "scalecore-trackers",
        ("analysis", "calibration"): "scalecore-analysis",
        ("analysis", "coverage"): "scalecore-analysis",
        ("analysis", "power"): "scalecore-analysis",
        ("analysis", "report"): "scalecore-analysis",
        ("analysis", "results"): "scalecore-analysis",
        ("analysis", "scaling-law"): "scalecore-analysis",
    }
)
"""Components of this project's own packages, for whoever has not installed them."""


@frozen(kw_only=True)
class Registered:
    """A component and where it comes from."""

    kind: str
    record: Record
    plugin: Plugin

    @property
    def name(self) -> str:
        """The name used in the experiment file."""
        return self.record.name

    @property
    def provider(self) -> str:
        """The distribution that provides it."""
        return self.plugin.distribution

    @property
    def version(self) -> str:
        """The version of that distribution."""
        return self.plugin.version

    @property
    def status(self) -> Status:
        """The status of its plugin; always `ok`, since other plugins offer nothing."""
        return self.plugin.status


@frozen(kw_only=True)
class Registry:
    """All components by kind and name, and all plugins with their status. Built by `load_registry`, then read only."""

    plugins: tuple[Plugin, ...]
    _components: Mapping[str, Mapping[str, tuple[Registered, ...]]] = field(alias="components")

    def get(self, kind: str, name: str) -> Registered:
        """The component of this kind and name; a `PluginError` says why there is none and what to do."""
        found = self._components[kind].get(name, ())
        if len(found) == 1:
            return found[0]
        if found:
            providers = " and ".join(f"{one.provider} {one.version}" for one in found)
            raise PluginError(
                f"{kind} {name!r} is provided by {providers}; uninstall all but one, or leave one out with --block DIST"
            )
        raise PluginError(self._why_not(kind, name))

    def names(self, kind: str) -> tuple[str, ...]:
        """The names of all components of a kind, sorted."""
        return tuple(sorted(self._components[kind]))

    def components(self, kind: str) -> tuple[Registered, ...]:
        """All components of a kind that can be used, sorted by name; those that two plugins provide are left out."""
        return tuple(found[0] for _, found in sorted(self._components[kind].items()) if len(found) == 1)

    def provided_by(self, plugin: Plugin) -> tuple[Registered, ...]:
        """What a plugin offers, in the order of the kinds."""
        return tuple(
            one
            for by_name in self._components.values()
            for found in by_name.values()
            for one in found
            if one.plugin == plugin
        )

    def conflicts(self) -> tuple[tuple[Registered, ...], ...]:
        """The components that several plugins provide under one name."""
        return tuple(found for by_name in self._components.values() for found in by_name.values() if len(found) > 1)

    def _why_not(self, kind: str, name: str) -> str:
        known = known_provider(kind, name)
        unusable = [plugin for plugin in self.plugins if plugin.status is not Status.OK]
        for plugin in unusable:
            if (kind, name) in plugin.claims or canonicalize_name(plugin.distribution) == known:
                return f"{kind} {name!r} is provided by {plugin.provider}, which is {plugin.status}: {plugin.reason}"
        if known is not None and not any(canonicalize_name(plugin.distribution) == known for plugin in self.plugins):
            return f"{kind} {name!r} is not installed; `pip install {known}` provides it"
        near = difflib.get_close_matches(name, self.names(kind), n=3)
        hint = f" (did you mean {' or '.join(map(repr, near))}?)" if near else ""
        names = ", ".join(self.names(kind)) or "none"
        text = f"there is no {kind} {name!r}{hint}; installed {KINDS[kind].plural}: {names}"
        if unusable:
            states = "; ".join(f"{plugin.provider} is {plugin.status}: {plugin.reason}" for plugin in unusable)
            text += f". Not usable, and it may be theirs: {states}"
        return text


def known_provider(kind: str, name: str) -> str | None:
    """This project's package that provides the component, installed or not; None where none does."""
    return _PROVIDERS.get((kind, name))


def load_registry(
    *, no_plugins: bool = False, block: Iterable[str] = (), path: Sequence[str] | None = None
) -> Registry:
    """Find, check and import the installed plugins, each in isolation. Never fails because of a plugin.

    `no_plugins` keeps the components of scalecore itself only; `block` names distributions to leave out, and naming one
    that is not installed is an `ExperimentError`; `path` holds folders to search instead of `sys.path`.
    """
    found = discover(path)
    blocked = {str(canonicalize_name(name)): name for name in block}
    _check_blocked(blocked, found)

    def admitted(plugin: Plugin) -> Plugin:
        name = canonicalize_name(plugin.distribution)
        if name in blocked:
            return plugin.failed(Status.BLOCKED, f"left out by --block {blocked[name]}")
        if no_plugins and name != CORE:
            return plugin.failed(Status.BLOCKED, "left out by --no-plugins")
        return plugin

    plugins: list[Plugin] = []
    components: dict[str, dict[str, tuple[Registered, ...]]] = {kind: {} for kind in KINDS}
    for plugin in refuse_name_clashes(map(admitted, found)):
        if plugin.status is not Status.OK:
            plugins.append(plugin)
            continue
        loaded = load_plugin(plugin)
        plugins.append(loaded.plugin)
        for kind, record in loaded.records:
            one = Registered(kind=kind, record=record, plugin=loaded.plugin)
            components[kind][record.name] = (*components[kind].get(record.name, ()), one)
    return Registry(plugins=tuple(plugins), components=components)


def _check_blocked(blocked: Mapping[str, str], found: Sequence[Plugin]) -> None:
    installed = {str(canonicalize_name(plugin.distribution)): plugin.distribution for plugin in found}
    for name, written in blocked.items():
        if name not in installed:
            names = ", ".join(installed.values()) or "none"
            raise ExperimentError(f"--block {written}: no such distribution has a scalecore plugin; installed: {names}")
