"""Which plugins are installed, read from the metadata of distributions before anything of theirs is imported."""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from itertools import chain
from typing import Any

from attrs import evolve, frozen
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

import scalecore

__all__ = ["CORE", "GROUP", "Plugin", "Status", "discover"]

GROUP = "scalecore"
CORE = "scalecore"


class Status(StrEnum):
    """How a plugin ends up. Only an `ok` plugin offers components; the others keep the reason."""

    OK = "ok"
    BLOCKED = "blocked"
    INCOMPATIBLE = "incompatible"
    BROKEN = "broken"


@frozen(kw_only=True)
class Plugin:
    """One entry point of the group `scalecore`, and what became of it.

    `details` is the traceback of a failed import, for `scalecore plugins -v`. `claims` are the components that a broken
    plugin would offer, as (kind, name), so that the reason can be given to whoever asks for one of them.
    """

    name: str
    value: str
    distribution: str
    version: str
    location: str
    status: Status = Status.OK
    reason: str | None = None
    details: str | None = None
    claims: tuple[tuple[str, str], ...] = ()

    @property
    def provider(self) -> str:
        """Distribution and version, as errors name it: `scalecore-patchtst 0.1.0`."""
        return f"{self.distribution} {self.version}"

    def failed(self, status: Status, reason: str, *, details: str | None = None) -> Plugin:
        """The same plugin, not usable for this reason."""
        return evolve(self, status=status, reason=reason, details=details)


def discover(path: Sequence[str] | None = None, *, only: str | None = None) -> tuple[Plugin, ...]:
    """All plugins on `path` (by default `sys.path`), the core's own first, then by name; nothing is imported.

    `only` names one distribution: its plugins and the core's own are found without a look at the others.

    A distribution that is found twice counts once: the first one is what an import would find. A plugin that needs
    another version of scalecore is `incompatible`, one whose metadata cannot be read is `broken`.
    """
    plugins: list[Plugin] = []
    seen: set[str] = set()
    places = list(sys.path if path is None else path)
    names = (None,) if only is None else (CORE, only)
    every = (importlib.metadata.distributions(path=places, name=name) for name in names)
    for distribution in chain.from_iterable(every):
        if not _has_plugins(distribution):
            continue
        found = list(_read(distribution))
        told = {canonicalize_name(plugin.distribution) for plugin in found}
        if told & seen:
            continue
        seen |= told
        plugins.extend(found)
    if only is not None and canonicalize_name(only) not in seen:
        return discover(path)  # its folder has another name than its metadata: written by hand
    plugins.sort(key=lambda plugin: (not _is_core(plugin), canonicalize_name(plugin.distribution), plugin.name))
    return tuple(plugins)


def _is_core(plugin: Plugin) -> bool:
    return canonicalize_name(plugin.distribution) == CORE


def _has_plugins(distribution: importlib.metadata.Distribution) -> bool:
    try:
        return GROUP in (distribution.read_text("entry_points.txt") or "")
    except UnicodeDecodeError as error:
        return GROUP.encode() in error.object


def _read(distribution: importlib.metadata.Distribution) -> Iterator[Plugin]:
    """The plugins of one distribution; metadata that cannot be read gives a broken one in their place."""
    location = str(distribution.locate_file(""))
    # A half-deleted or hand-made distribution may lack its METADATA: then name and version are missing.
    metadata: Any = distribution.metadata
    name, version = metadata["Name"], metadata["Version"]
    if not name or not version:
        folder = getattr(getattr(distribution, "_path", None), "name", "unknown")
        yield Plugin(
            name=name or folder,
            value="",
            distribution=name or folder,
            version=version or "(no version)",
            location=location,
            status=Status.BROKEN,
            reason=f"its metadata in {location} has no {'Version' if name else 'Name'}; install it again",
        )
        return
    try:
        entry_points = [entry for entry in distribution.entry_points if entry.group == GROUP]
    except Exception as error:
        reason = (
            f"its entry_points.txt in {location} cannot be read ({type(error).__name__}: {error}); install it again"
        )
        yield Plugin(
            name=name,
            value="",
            distribution=name,
            version=version,
            location=location,
            status=Status.BROKEN,
            reason=reason,
        )
        return
    unmet = _unmet_requirement(distribution.requires or ())
    for entry in entry_points:
        plugin = Plugin(name=entry.name, value=entry.value, distribution=name, version=version, location=location)
        yield plugin if unmet is None or _is_core(plugin) else plugin.failed(*unmet)


def _unmet_requirement(requirements: Iterable[str]) -> tuple[Status, str] | None:
    """Why this version of scalecore does not do, judged by the declared requirements alone."""
    for text in requirements:
        try:
            requirement = Requirement(text)
            if canonicalize_name(requirement.name) != CORE:
                continue
            applies = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        except (InvalidRequirement, ValueError) as error:
            return Status.BROKEN, f"its requirement {text!r} cannot be read ({str(error).splitlines()[0]})"
        if applies and not requirement.specifier.contains(scalecore.__version__, prereleases=True):
            return (
                Status.INCOMPATIBLE,
                f"it needs scalecore {requirement.specifier}, and this is scalecore {scalecore.__version__}",
            )
    return None
