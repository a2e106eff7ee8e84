"""Look up the component for a name in the experiment file, or the reason why there is none."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from attrs import evolve, field, frozen

from scalecore.api.components import Record
from scalecore.api.errors import ExperimentError, PluginError
from scalecore.plugins.discovery import BASE, CORE, Plugin, Status, discover
from scalecore.plugins.kinds import KINDS
from scalecore.plugins.manager import Loaded, load_file, load_plugin
from scalecore.plugins.metadata import canonical_name

_PROVIDERS: Mapping[tuple[str, str], str] = MappingProxyType(
    {
        ("model", "patchtst"): "scalecore-patchtst",
        ("search", "architectural"): "scalecore-optuna",
        ("monitor", "memory"): "scalecore-hwmon",
        ("monitor", "thermal"): "scalecore-hwmon",
        ("monitor", "disk"): "scalecore-hwmon",
        ("monitor", "gpu"): "scalecore-hwmon",
        ("dataset", "market"): "scalecore-market",
        ("logger", "optuna"): "scalecore-optuna",
        ("logger", "tensorboard"): "scalecore-trackers",
        ("logger", "mlflow"): "scalecore-trackers",
        ("logger", "wandb"): "scalecore-trackers",
        ("trainer", "torch"): "scalecore-torch",
        ("model", "linear"): "scalecore-torch",
        ("analysis", "calibration"): "scalecore-analysis",
        ("analysis", "confirm"): "scalecore-analysis",
        ("analysis", "coverage"): "scalecore-analysis",
        ("analysis", "cross-budget"): "scalecore-analysis",
        ("analysis", "power"): "scalecore-analysis",
        ("analysis", "report"): "scalecore-analysis",
        ("analysis", "results"): "scalecore-analysis",
        ("analysis", "scaling-law"): "scalecore-analysis",
    }
)
"""Components of this project's packages, for messages about packages that are not installed."""


@frozen(kw_only=True)
class Registered:
    """A component and its plugin."""

    kind: str
    record: Record
    plugin: Plugin
    contested: bool = False
    """Whether other distributions have a component of this kind and name."""

    @property
    def name(self) -> str:
        """The name in its record."""
        return self.record.name

    @property
    def use(self) -> str:
        """Its name in the experiment file: the name, or `distribution/name` if several distributions provide it."""
        return f"{canonical_name(self.provider)}/{self.name}" if self.contested else self.name

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
        """The status of its plugin: always `ok`, since other plugins offer nothing."""
        return self.plugin.status


@frozen(kw_only=True)
class Registry:
    """All components by kind and name, and all plugins with their status. Built by `load_registry`, then read-only."""

    plugins: tuple[Plugin, ...]
    _components: Mapping[str, Mapping[str, tuple[Registered, ...]]] = field(alias="components")

    def get(self, kind: str, name: str) -> Registered:
        """The component of this kind and name, or of `distribution/name`.

        Raises `PluginError`, with the reason and a remedy, if there is none or several.
        """
        distribution, qualified, bare = name.rpartition("/")
        found = self._components[kind].get(bare, ())
        if qualified and canonical_name(distribution) in (CORE, "scalecore-promotion"):
            distribution = known_provider(kind, bare) or distribution  # an earlier version of the package had it
        if qualified:
            found = tuple(one for one in found if _same(one.provider, distribution))
        if len(found) == 1:
            return found[0]
        if found:
            raise PluginError(clash_text(found))
        raise PluginError(self._not_theirs(kind, distribution, bare) if qualified else self._why_not(kind, name))

    def has(self, distribution: str) -> bool:
        """Whether a plugin of this distribution is installed, usable or not."""
        return any(_same(plugin.distribution, distribution) for plugin in self.plugins)

    def default(self, kind: str, name: str) -> Registered:
        """The component of a default, or of a name that was stored before others used it: of several components, that
        of this project's packages.
        """
        known = known_provider(kind, name) or CORE
        own = [one for one in self._components[kind].get(name, ()) if _same(one.provider, known)]
        return own[0] if len(own) == 1 else self.get(kind, name)

    def with_files(self, files: Iterable[str | Path], *, versions: Mapping[str, str] | None = None) -> Registry:
        """These plugins and those of Python files, which are loaded even if installed ones are excluded."""
        found = [load_file(file, version=(versions or {}).get(file.name)) for file in map(Path, files)]
        known = [one for by_name in self._components.values() for rivals in by_name.values() for one in rivals]
        return _registry((*self.plugins, *(one.plugin for one in found)), [*known, *_registered(found)])

    def names(self, kind: str) -> tuple[str, ...]:
        """The names of the components of a kind in the experiment file, sorted."""
        return tuple(one.use for one in self.components(kind))

    def components(self, kind: str) -> tuple[Registered, ...]:
        """All usable components of a kind, sorted by name; without those that one distribution provides twice."""
        every = [one for _, found in sorted(self._components[kind].items()) for one in found]
        uses = [one.use for one in every]
        return tuple(one for one in every if uses.count(one.use) == 1)

    def provided_by(self, plugin: Plugin) -> tuple[Registered, ...]:
        """The components of a plugin, in the order of the kinds."""
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

    def _not_theirs(self, kind: str, distribution: str, name: str) -> str:
        """Why the distribution in a name does not have the component."""
        text = f"there is no {kind} {f'{distribution}/{name}'!r}"
        theirs = [plugin for plugin in self.plugins if _same(plugin.distribution, distribution)]
        if not theirs:
            known = known_provider(kind, name)
            if known is not None and _same(known, distribution):
                return f"{text}: `pip install {known}` provides it"
            installed = ", ".join(dict.fromkeys(plugin.distribution for plugin in self.plugins)) or "none"
            return f"{text}: no distribution {distribution!r} has a scalecore plugin; installed: {installed}"
        for plugin in theirs:
            if plugin.status is not Status.OK:
                return f"{text}: {plugin.provider} is {plugin.status}: {plugin.reason}"
        names = [one.name for one in self.components(kind) if _same(one.provider, distribution)]
        return f"{text}: the {KINDS[kind].plural} of {theirs[0].provider} are {', '.join(names) or 'none'}"

    def _why_not(self, kind: str, name: str) -> str:
        known = known_provider(kind, name)
        unusable = [plugin for plugin in self.plugins if plugin.status is not Status.OK]
        for plugin in unusable:
            if (kind, name) in plugin.claims or canonical_name(plugin.distribution) == known:
                return f"{kind} {name!r} is provided by {plugin.provider}, which is {plugin.status}: {plugin.reason}"
        if known is not None and not any(canonical_name(plugin.distribution) == known for plugin in self.plugins):
            return f"{kind} {name!r} is not installed; `pip install {known}` provides it"
        near = difflib.get_close_matches(name, self.names(kind), n=3)
        hint = f" (did you mean {' or '.join(map(repr, near))}?)" if near else ""
        names = ", ".join(self.names(kind)) or "none"
        text = f"there is no {kind} {name!r}{hint}; installed {KINDS[kind].plural}: {names}"
        if unusable:
            states = "; ".join(f"{plugin.provider} is {plugin.status}: {plugin.reason}" for plugin in unusable)
            text += f". It may belong to a plugin that cannot be used: {states}"
        return text


def clash_text(rivals: Sequence[Registered]) -> str:
    """The providers of a name, and how to choose one of them."""
    providers = list(dict.fromkeys(f"{one.provider} {one.version}" for one in rivals))
    uses = list(dict.fromkeys(one.use for one in rivals))
    text = f"{rivals[0].kind} {rivals[0].name!r} is provided by {_listed(providers, 'and')}"
    if len(uses) < len(rivals):
        names = [f"{one.plugin.name} of {one.provider}" for one in rivals]
        text += f", by the entry points {_listed(names, 'and')}"
    if len(uses) > 1:
        return f"{text}; choose one by writing {_listed(uses, 'or')}"
    return f"{text}; report this to its author, or exclude it with --block {rivals[0].provider}"


def _listed(texts: Sequence[str], word: str) -> str:
    *others, last = texts
    return f"{', '.join(others)} {word} {last}" if others else last


def _same(one: str, other: str) -> bool:
    """Whether two names of distributions are the same for installers."""
    return canonical_name(one) == canonical_name(other)


def known_provider(kind: str, name: str) -> str | None:
    """This project's package that provides the component, installed or not; None if none does."""
    return _PROVIDERS.get((kind, name))


def load_registry(
    *,
    no_plugins: bool = False,
    block: Iterable[str] = (),
    path: Sequence[str] | None = None,
    only: str | None = None,
    files: Iterable[str | Path] = (),
    versions: Mapping[str, str] | None = None,
) -> Registry:
    """Find, check and import the installed plugins, each in isolation. Never fails because of a plugin.

    `no_plugins` keeps only the components of scalecore and scalecore-torch. `block` names distributions to exclude;
    raises `ExperimentError` for one that is not installed. `path` is searched instead of `sys.path`. `only` is the
    single distribution to load besides scalecore, for a process that needs one known component. `files` are Python
    files to load as plugins (`Registry.with_files`); `only` may be the name of one of them. `versions` are the required
    versions of files, by name; raises `ChangedFileError` for a file with another one.
    """
    files = [Path(file) for file in files if only in (None, Path(file).name)]
    found = discover(path, only=CORE if only is not None and files else only)
    blocked = {canonical_name(name): name for name in block}
    if only is None:
        _check_blocked(blocked, found)

    def admitted(plugin: Plugin) -> Plugin:
        name = canonical_name(plugin.distribution)
        if name in blocked:
            return plugin.failed(Status.BLOCKED, f"excluded by --block {blocked[name]}")
        if no_plugins and name not in BASE:
            return plugin.failed(Status.BLOCKED, "excluded by --no-plugins")
        return plugin

    loaded = [load_plugin(one) if one.status is Status.OK else Loaded(plugin=one) for one in map(admitted, found)]
    return _registry([one.plugin for one in loaded], _registered(loaded)).with_files(files, versions=versions)


def _registered(loaded: Iterable[Loaded]) -> list[Registered]:
    return [Registered(kind=kind, record=record, plugin=one.plugin) for one in loaded for kind, record in one.records]


def _registry(plugins: Iterable[Plugin], components: Iterable[Registered]) -> Registry:
    found: dict[str, dict[str, tuple[Registered, ...]]] = {kind: {} for kind in KINDS}
    for one in components:
        found[one.kind][one.name] = (*found[one.kind].get(one.name, ()), one)
    for by_name in found.values():
        for name, rivals in by_name.items():
            if len(rivals) > 1:
                by_name[name] = tuple(evolve(one, contested=True) for one in rivals)
    return Registry(plugins=tuple(plugins), components=found)


def _check_blocked(blocked: Mapping[str, str], found: Sequence[Plugin]) -> None:
    installed = {canonical_name(plugin.distribution): plugin.distribution for plugin in found}
    for name, written in blocked.items():
        if name not in installed:
            names = ", ".join(installed.values()) or "none"
            raise ExperimentError(f"--block {written}: no such distribution has a scalecore plugin; installed: {names}")
