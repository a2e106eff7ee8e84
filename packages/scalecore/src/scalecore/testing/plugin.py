"""What every plugin package must hold: entry point, laziness, hooks, options, types, declared range of scalecore."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from scalecore import __version__
from scalecore.plugins.discovery import GROUP, Status
from scalecore.plugins.registry import Registered, Registry, load_registry

__all__ = ["PluginContract", "PluginFileContract"]

HEAVY = (
    "torch",
    "optuna",
    "pandas",
    "numpy",
    "pyarrow",
    "scipy",
    "sklearn",
    "matplotlib",
    "altair",
    "vl_convert",
    "sqlalchemy",
)
"""Modules that cost a noticeable part of a second: never imported before they are needed."""

_LIST = """
import importlib, json, runpy, sys
(runpy.run_path if sys.argv[1].endswith(".py") else importlib.import_module)(sys.argv[1])
print(json.dumps(sorted(sys.modules)))
"""
_DRIVE = """
import json, sys
from scalecore.plugins.registry import load_registry
from scalecore.api.space import DataShape
family = load_registry(files=sys.argv[2:]).get("model", sys.argv[1]).record
family = family.factory(family.options())
data = DataShape(context=20, features=3, outputs=1)
space = family.architecture_space(data)
for one in space.architectures[:3]:
    for form in ("num_parameters", "flops", "saved_activations"):
        hasattr(family, form) and getattr(family, form)(one, data)
family.hyperparameters()
print(json.dumps(sorted(sys.modules)))
"""


class PluginFileContract:
    """What a plugin in one file must hold, named by `plugins:` in an experiment file. Inherit, and set `file`."""

    file: ClassVar[str | None] = None

    @pytest.fixture
    def installed(self) -> Registry:
        """What scalecore provides, and the file."""
        assert self.file, "set `file` to the path of your plugin"
        return load_registry(no_plugins=True, files=[self.file])

    def test_it_is_found_and_works(self, installed: Registry) -> None:
        """A plugin file, or at least one entry point of the group `scalecore`, with the status ok."""
        plugins = self._plugins(installed)
        names = ", ".join(sorted({plugin.distribution for plugin in installed.plugins}))
        assert plugins, f"{self._name} has no entry point in the group {GROUP!r}; installed plugins are {names}"
        for plugin in plugins:
            assert plugin.status is Status.OK, f"{plugin.name}: {plugin.status}, {plugin.reason}"

    def test_it_offers_something(self, installed: Registry) -> None:
        """Its hooks return records, each with a name, one sentence, a factory and an options class."""
        components = self._components(installed)
        assert components, "its hooks return no record"
        for component in components:
            assert component.record.summary[-1:] in ".!?", f"{component.name}: the summary is no sentence"

    def test_options_can_be_read_and_shown(self, installed: Registry) -> None:
        """Every option has help, defaults pass their own bounds, and the schema holds them."""
        from scalecore.config.fields import fields_of
        from scalecore.config.schema import experiment_schema

        for component in self._components(installed):
            for one in fields_of(component.record.options):
                assert one.help, f"{component.name}.{one.name} has no help"
            if not any(one.required for one in fields_of(component.record.options)):
                component.record.options()
        json.dumps(experiment_schema(installed), allow_nan=False)

    def test_importing_it_is_cheap(self, installed: Registry) -> None:
        """The module with the hooks imports nothing heavy, in a fresh interpreter [lazy factories]."""
        for plugin in self._plugins(installed):
            modules = self._modules(_LIST, plugin.value)
            heavy = [name for name in HEAVY if name in modules]
            assert not heavy, f"{plugin.value} imports {', '.join(heavy)}; import them inside the factory"

    def test_the_driver_needs_no_torch(self, installed: Registry) -> None:
        """Everything of a model family but `build` runs in the driver, which does not import torch."""
        for component in self._components(installed, kind="model"):
            if _has_required_options(component):
                continue
            modules = self._modules(_DRIVE, component.name, *filter(None, [self.file]))
            assert "torch" not in modules, f"the model {component.name} imports torch before `build`"

    # --- helpers ----------------------------------------------------------------------------------------------------

    @property
    def _name(self) -> str:
        return Path(self.file or "").name

    def _plugins(self, installed: Registry) -> list[Any]:
        mine = canonicalize_name(self._name)
        return [plugin for plugin in installed.plugins if canonicalize_name(plugin.distribution) == mine]

    def _components(self, installed: Registry, *, kind: str | None = None) -> list[Registered]:
        from scalecore.plugins.kinds import KINDS

        mine = canonicalize_name(self._name)
        kinds = list(KINDS) if kind is None else [kind]
        return [one for name in kinds for one in installed.components(name) if canonicalize_name(one.provider) == mine]

    def _modules(self, code: str, *arguments: str) -> set[str]:
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stderr
        return set(json.loads(done.stdout.splitlines()[-1]))


class PluginContract(PluginFileContract):
    """What an installed plugin must hold. Inherit, and set `distribution` to the name of the distribution."""

    distribution: ClassVar[str] = ""

    @pytest.fixture
    def installed(self) -> Registry:
        """Everything that is installed, as the command line sees it."""
        assert self.distribution, "set `distribution` to the name of your distribution"
        return load_registry()

    @property
    def _name(self) -> str:
        return self.distribution

    def test_it_is_typed(self, installed: Registry) -> None:
        """`py.typed` lies beside the package, so that type checkers look into it."""
        for package in {plugin.value.partition(".")[0] for plugin in self._plugins(installed)}:
            found = importlib.util.find_spec(package)
            assert found is not None
            assert found.origin is not None, f"{package} has no __init__.py, and so no py.typed beside it"
            assert (Path(found.origin).parent / "py.typed").exists(), f"{package} has no py.typed"

    def test_it_says_which_scalecore_it_needs(self, installed: Registry) -> None:
        """A range with both ends, which holds the installed version: a later core must not be met by surprise."""
        if canonicalize_name(self.distribution) == "scalecore":
            pytest.skip("this is scalecore itself")
        lines = importlib.metadata.requires(self.distribution) or []
        own = [one for one in map(Requirement, lines) if canonicalize_name(one.name) == "scalecore"]
        found = [one for one in own if one.marker is None]
        assert found, "it does not require scalecore"
        (requirement,) = found
        operators = {clause.operator for clause in requirement.specifier}
        assert operators & {">=", ">", "==", "~="}, f"{requirement}: no lower end"
        assert operators & {"<", "<=", "==", "~="}, f"{requirement}: no upper end"
        assert requirement.specifier.contains(Version(__version__), prereleases=True)

    def test_its_names_are_its_own(self, installed: Registry) -> None:
        """No other installed distribution offers a component of the same kind and name."""
        mine = self._plugins(installed)
        for several in installed.conflicts():
            providers = " and ".join(f"{one.provider} {one.version}" for one in several)
            ours = any(one.plugin in mine for one in several)
            assert not ours, f"{several[0].kind} {several[0].name!r} is provided by {providers}"


def _has_required_options(component: Registered) -> bool:
    from scalecore.config.fields import fields_of

    return any(one.required for one in fields_of(component.record.options))
