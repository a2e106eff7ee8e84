"""Commands of plugins: entry points of the group `scalecore.commands`, a name and a click command as `module:name`.

They are found in the metadata of distributions and imported only when called.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import TYPE_CHECKING

import click

from scalecore.api.errors import PluginError
from scalecore.plugins.metadata import Metadata, canonical_name, folders, read_metadata

if TYPE_CHECKING:
    from importlib.metadata import Distribution

GROUP = "scalecore.commands"

PROVIDERS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "report": ("scalecore-analysis", "Write a report of a study: one page that opens offline."),
        "confirm": ("scalecore-analysis", "Retrain the best trials with new seeds, and compare them."),
        "evaluate": ("scalecore-promotion", "Retrain a trial and evaluate it on the test set."),
        "predict": ("scalecore-promotion", "Apply a retrained model to new data."),
        "import": ("scalecore-analysis", "Warm-start a study from earlier results."),
        "data": ("scalecore-market", "Manage daily prices and features, with versions and checksums."),
    }
)
"""Commands of this project's packages, installed or not: the package and the line of `--help`."""


def plugin_commands() -> dict[str, list[Metadata]]:
    """The distributions that provide each command, sorted by its name."""
    found: dict[str, list[Metadata]] = {}
    seen: set[str] = set()
    for metadata in _distributions():
        name = canonical_name(metadata.name)
        if name in seen:  # an import finds the first one
            continue
        seen.add(name)
        for command, _ in metadata.entry_points:
            found.setdefault(command, []).append(metadata)
    return dict(sorted(found.items()))


def summaries() -> dict[str, str]:
    """A line of help for each installed command, and for those of this project that are not installed."""
    found = {}
    for name, provided in plugin_commands().items():
        package, summary = PROVIDERS.get(name, ("", ""))
        if [canonical_name(one.name) for one in provided] != [package]:
            summary = f"Provided by {' and '.join(f'{one.name} {one.version}' for one in provided)}."
        found[name] = summary
    return {name: f"Not installed; {package} provides it." for name, (package, _) in PROVIDERS.items()} | found


def load_command(name: str) -> click.Command | None:
    """The command of a plugin; None if no plugin has it. Raises `PluginError` if it cannot be used."""
    provided = plugin_commands().get(name, [])
    if not provided:
        if name in PROVIDERS:
            package, _ = PROVIDERS[name]
            raise PluginError(f"the command {name!r} is not installed; `pip install {package}` provides it")
        return None
    if len(provided) > 1:
        rivals = " and ".join(f"{one.name} {one.version}" for one in provided)
        raise PluginError(f"the command {name!r} is provided by {rivals}; uninstall one of them")
    from scalecore.plugins.discovery import unmet_requirement

    (metadata,) = provided
    shown = f"the command {name!r} of {metadata.name} {metadata.version}"
    unmet = unmet_requirement(metadata.requires)
    if unmet is not None:
        raise PluginError(f"{shown} is {unmet[0]}: {unmet[1]}")
    value = dict(metadata.entry_points)[name]
    module, _, attribute = value.partition(":")
    try:
        command = getattr(importlib.import_module(module), attribute)
    except (Exception, SystemExit) as error:
        raise PluginError(f"{shown} cannot be imported from {value}: {type(error).__name__}: {error}") from error
    if not isinstance(command, click.Command):
        raise PluginError(f"{shown}: {value} is {command!r}, not a click command; report this to its author")
    return command


def _distributions() -> Iterator[Metadata]:
    """The distributions with entry points of the group."""
    found = folders(sys.path)
    if found is None:
        from importlib.metadata import distributions

        yield from filter(None, map(_metadata, distributions()))
        return
    for folder in found:
        try:
            with open(os.path.join(folder, "entry_points.txt"), "rb") as file:
                content = file.read()
        except OSError:
            continue
        if GROUP.encode() not in content:
            continue
        metadata = read_metadata(folder, GROUP)
        if metadata is None:
            from importlib.metadata import Distribution

            metadata = _metadata(Distribution.at(folder))
        if metadata is not None and metadata.entry_points:
            yield metadata


def _metadata(distribution: Distribution) -> Metadata | None:
    """Like `read_metadata`, for metadata in any form; None if it cannot be read or has no such entry point."""
    with suppress(Exception):  # `scalecore plugins` reports broken metadata
        name, version = distribution.metadata["Name"], distribution.metadata["Version"]
        entries = tuple((one.name, one.value) for one in distribution.entry_points if one.group == GROUP)
        if name and version and entries:
            return Metadata(name, version, tuple(distribution.requires or ()), entries)
    return None
