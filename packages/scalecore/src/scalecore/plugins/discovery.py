"""Find the installed plugins in the metadata of distributions, without importing them."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from operator import eq, ge, gt, le, lt, ne
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import evolve, frozen

import scalecore
from scalecore.plugins.metadata import Metadata, canonical_name, folders, read_metadata

if TYPE_CHECKING:
    from importlib.metadata import Distribution

GROUP = "scalecore"
CORE = "scalecore"
BASE = (CORE, "scalecore-torch")
"""What `--no-plugins` keeps: without scalecore-torch the experiment files of the docs could not train."""

_BOUND = r"(?:[<>]=?|[!=]=)[0-9]+(?:\.[0-9]+)*"
_PLAIN = rf"([a-z0-9](?:[\w.-]*[a-z0-9])?)(?:\[[a-z0-9]+\])?({_BOUND}(?:,{_BOUND})*)?(; extra == (['\"])[a-z0-9-]+\4)?"
_RELEASE = r"[0-9]+(?:\.[0-9]+)*"
_COMPARE = {"<": lt, "<=": le, ">": gt, ">=": ge, "==": eq, "!=": ne}


class Status(StrEnum):
    """The status of a plugin. Only an `ok` plugin offers components; all others have a reason."""

    OK = "ok"
    BLOCKED = "blocked"
    INCOMPATIBLE = "incompatible"
    BROKEN = "broken"


@frozen(kw_only=True)
class Plugin:
    """One entry point of the group `scalecore`, and its status.

    `details` is the traceback of a failed import, for `scalecore plugins -v`. `claims` are the components that a broken
    plugin would offer, as (kind, name), so that the error about one of them can give the reason.
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
        """Distribution and version, as shown in errors: `scalecore-patchtst 0.2.0`."""
        return f"{self.distribution} {self.version}"

    def failed(self, status: Status, reason: str, *, details: str | None = None) -> Plugin:
        """The same plugin, unusable for this reason."""
        return evolve(self, status=status, reason=reason, details=details)


def discover(path: Sequence[str] | None = None, *, only: str | None = None) -> tuple[Plugin, ...]:
    """All plugins on `path` (by default `sys.path`), the core's own first, then by name; nothing is imported.

    `only` names one distribution: only its plugins and the core's own are searched.

    A distribution that is found twice counts once: an import would find the first one. A plugin that requires another
    version of scalecore is `incompatible`, and one with unreadable metadata is `broken`.
    """
    plugins: list[Plugin] = []
    seen: set[str] = set()
    for found in _each(list(sys.path if path is None else path), names=() if only is None else (CORE, only)):
        names = {canonical_name(plugin.distribution) for plugin in found}
        if names & seen:
            continue
        seen |= names
        plugins.extend(found)
    if only is not None and canonical_name(only) not in seen:
        return discover(path)  # its folder has another name than its metadata: edited by hand
    plugins.sort(key=lambda plugin: (not _is_core(plugin), canonical_name(plugin.distribution), plugin.name))
    return tuple(plugins)


def _is_core(plugin: Plugin) -> bool:
    return canonical_name(plugin.distribution) == CORE


def _each(places: list[str], *, names: tuple[str, ...]) -> Iterator[list[Plugin]]:
    """The plugins of each distribution in `places` that may have any."""
    found = folders(places, [canonical_name(name) for name in names])
    if found is None:
        from importlib.metadata import distributions

        for name in names or (None,):
            yield from (list(_judge(one)) for one in distributions(path=places, name=name) if _names_group(one))
        return
    for folder in found:
        try:
            with open(os.path.join(folder, "entry_points.txt"), "rb") as file:
                if GROUP.encode() not in file.read():
                    continue
        except OSError:
            continue
        metadata = read_metadata(folder, GROUP)
        if metadata is None:
            from importlib.metadata import Distribution

            yield list(_judge(Distribution.at(folder)))
        else:
            yield list(_plugins(metadata, str(Path(folder).parent)))


def _names_group(distribution: Distribution) -> bool:
    try:
        return GROUP in (distribution.read_text("entry_points.txt") or "")
    except UnicodeDecodeError as error:
        return GROUP.encode() in error.object


def _judge(distribution: Distribution) -> Iterator[Plugin]:
    """The plugins of one distribution, or a broken one if its metadata cannot be read."""
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
            reason=f"its metadata in {location} has no {'Version' if name else 'Name'}; reinstall it",
        )
        return
    try:
        entries = [(entry.name, entry.value) for entry in distribution.entry_points if entry.group == GROUP]
    except Exception as error:
        reason = f"its entry_points.txt in {location} cannot be read ({type(error).__name__}: {error}); reinstall it"
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
    yield from _plugins(Metadata(name, version, tuple(distribution.requires or ()), tuple(entries)), location)


def _plugins(metadata: Metadata, location: str) -> Iterator[Plugin]:
    unmet = unmet_requirement(metadata.requires)
    for name, value in metadata.entry_points:
        plugin = Plugin(name=name, value=value, distribution=metadata.name, version=metadata.version, location=location)
        yield plugin if unmet is None or _is_core(plugin) else plugin.failed(*unmet)


def unmet_requirement(requirements: Iterable[str]) -> tuple[Status, str] | None:
    """Why this version of scalecore does not meet the declared requirements; None if it does."""
    for text in requirements:
        if _plainly_met(text):
            continue
        from packaging.requirements import InvalidRequirement, Requirement

        try:
            requirement = Requirement(text)
            if canonical_name(requirement.name) != CORE:
                continue
            applies = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        except (InvalidRequirement, ValueError) as error:
            return Status.BROKEN, f"its requirement {text!r} cannot be read ({str(error).splitlines()[0]})"
        if applies and not requirement.specifier.contains(scalecore.__version__, prereleases=True):
            return (
                Status.INCOMPATIBLE,
                f"it requires scalecore {requirement.specifier}, but this is scalecore {scalecore.__version__}",
            )
    return None


def _plainly_met(text: str) -> bool:
    """Whether a requirement in simple form is met, or is not about scalecore; False if `packaging` has to decide.

    Nearly all requirements have this form, and importing `packaging` takes a tenth of `scalecore check`.
    """
    plain = re.fullmatch(_PLAIN, text, re.ASCII | re.IGNORECASE)
    if plain is None:
        return False
    if canonical_name(plain[1]) != CORE or plain[3]:
        return True
    if not re.fullmatch(_RELEASE, scalecore.__version__, re.ASCII):
        return False
    ours = _release(scalecore.__version__)
    bounds = [re.fullmatch(r"(\W+)(.+)", one, re.ASCII) for one in (plain[2] or "").split(",") if one]
    return all(_COMPARE[one[1]](ours, _release(one[2])) for one in bounds if one is not None)


def _release(version: str) -> tuple[int, ...]:
    """A numeric version in comparable form: 0.1 equals 0.1.0."""
    return tuple(map(int, re.sub(r"(?:\.0+)+$", "", version).split(".")))
