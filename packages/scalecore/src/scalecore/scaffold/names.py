"""Check the name of a new plugin: it serves as distribution, entry point and component."""

from __future__ import annotations

import importlib.util
import keyword
import re
import sys
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from attrs import frozen

from scalecore.api.errors import ExperimentError
from scalecore.plugins.metadata import canonical_name
from scalecore.plugins.registry import known_provider

if TYPE_CHECKING:
    from scalecore.plugins.registry import Registry

PLUGIN_KINDS: Mapping[str, str] = MappingProxyType(
    {
        "model": "model",
        "strategy": "search",
        "dataset": "dataset",
        "logger": "logger",
        "monitor": "monitor",
        "executor": "executor",
        "analysis": "analysis",
        "trainer": "trainer",
    }
)
"""The kinds of `scalecore new`, and their names in `scalecore.plugins.kinds`."""

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*[A-Za-z0-9]")


@frozen(kw_only=True)
class Names:
    """The names of a plugin: `my-tcn` of its component, distribution and entry point, `my_tcn` of its module, and
    `MyTcn` as the prefix of its classes.
    """

    name: str
    module: str
    prefix: str


def names_for(name: str, *, kind: str, registry: Registry) -> Names:
    """The names of a new plugin. Raises `ExperimentError` if the name cannot be used.

    `kind` is one of `PLUGIN_KINDS`.
    """
    if not _NAME.fullmatch(name):
        raise ExperimentError(
            f"{name!r} cannot name a plugin: use letters, digits, `-` and `_`, begin with a letter, end with a letter "
            "or digit, as in my-model"
        )
    module = name.lower().replace("-", "_")
    if keyword.iskeyword(module) or keyword.issoftkeyword(module):
        raise ExperimentError(f"{name!r} cannot name a plugin: {module!r} is a keyword of Python; try my-{name}")
    if module in sys.stdlib_module_names:
        raise ExperimentError(f"{name!r} cannot name a plugin: Python has a module {module!r}; try my-{name}")
    known = known_provider(PLUGIN_KINDS[kind], name)
    if known is not None:
        raise ExperimentError(f"{kind} {name!r} belongs to {known}; choose another name")
    for plugin in registry.plugins:
        if canonical_name(plugin.distribution) == canonical_name(name):
            raise ExperimentError(f"the plugin {plugin.provider} is installed under this name; choose another one")
        if plugin.name == name:
            raise ExperimentError(f"{plugin.provider} has a plugin {name!r}; choose another name")
    for one in registry.components(PLUGIN_KINDS[kind]):
        if one.name == name:
            raise ExperimentError(f"{kind} {name!r} is provided by {one.provider} {one.version}; choose another name")
    if importlib.util.find_spec(module) is not None:
        raise ExperimentError(f"{name!r} cannot name a plugin: a module {module!r} is installed; choose another name")
    prefix = "".join(part[:1].upper() + part[1:] for part in re.split("[-_]", name))
    return Names(name=name, module=module, prefix=prefix)
