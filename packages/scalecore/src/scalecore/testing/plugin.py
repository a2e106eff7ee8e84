"""Contract of plugins: entry point, cheap import, hooks, options, types, declared range of scalecore."""

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
"""Modules that are slow to import. A plugin may import them only when its component is created."""

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
    """Contract of a plugin in one file, as listed under `plugins:`. Inherit and set `file`."""

    file: ClassVar[str | None] = None

    @pytest.fixture
    def installed(self) -> Registry:
        """The registry of scalecore's components and the file's."""
        assert self.file, "set `file` to the path of your plugin"
        return load_registry(no_plugins=True, files=[self.file])

    def test_it_is_found_and_works(self, installed: Registry) -> None:
        """The file, or at least one entry point of the group `scalecore`, has the status ok."""
        plugins = self._plugins(installed)
        names = ", ".join(sorted({plugin.distribution for plugin in installed.plugins}))
        assert plugins, f"{self._name} has no entry point in the group {GROUP!r}; installed plugins: {names}"
        for plugin in plugins:
            assert plugin.status is Status.OK, f"{plugin.name}: {plugin.status}, {plugin.reason}"

    def test_it_provides_components(self, installed: Registry) -> None:
        """Its hooks return at least one record; each summary is a sentence."""
        components = self._components(installed)
        assert components, "the plugin's hooks return no component record"
        for component in components:
            assert component.record.summary[-1:] in ".!?", f"{component.name}: end the summary with a full stop"

    def test_options_are_documented_and_valid(self, installed: Registry) -> None:
        """Every option has a help text, defaults are within their bounds, and the JSON Schema can be generated."""
        from scalecore.config.fields import fields_of
        from scalecore.config.schema import experiment_schema

        for component in self._components(installed):
            for one in fields_of(component.record.options):
                assert one.help, f"option {component.name}.{one.name} has no help text"
            if not any(one.required for one in fields_of(component.record.options)):
                component.record.options()
        json.dumps(experiment_schema(installed), allow_nan=False)

    def test_importing_it_is_cheap(self, installed: Registry) -> None:
        """In a new interpreter, the module with the hooks imports none of the modules that are slow to import."""
        for plugin in self._plugins(installed):
            modules = self._modules(_LIST, plugin.value)
            heavy = [name for name in HEAVY if name in modules]
            assert not heavy, f"{plugin.value} imports {', '.join(heavy)}; import them inside the factory"

    def test_the_driver_needs_no_torch(self, installed: Registry) -> None:
        """Only `build` of a model family may import torch; all its other methods run in the driver."""
        for component in self._components(installed, kind="model"):
            if _has_required_options(component):
                continue
            modules = self._modules(_DRIVE, component.name, *filter(None, [self.file]))
            assert "torch" not in modules, (
                f"model {component.name} imports torch before `build`; import it inside `build`"
            )

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
    """Contract of an installed plugin. Inherit and set `distribution` to the name of the distribution."""

    distribution: ClassVar[str] = ""

    @pytest.fixture
    def installed(self) -> Registry:
        """The registry of all installed plugins."""
        assert self.distribution, "set `distribution` to the name of your distribution"
        return load_registry()

    @property
    def _name(self) -> str:
        return self.distribution

    def test_it_is_typed(self, installed: Registry) -> None:
        """Each package contains `py.typed`; without it type checkers ignore its types."""
        for package in {plugin.value.partition(".")[0] for plugin in self._plugins(installed)}:
            found = importlib.util.find_spec(package)
            assert found is not None
            assert found.origin is not None, f"{package} has no __init__.py; add it and py.typed"
            assert (Path(found.origin).parent / "py.typed").exists(), (
                f"{package} has no py.typed; add this empty file next to __init__.py"
            )

    def test_it_requires_a_range_of_scalecore(self, installed: Registry) -> None:
        """The requirement on scalecore has a lower and an upper bound, and the installed version satisfies it."""
        if canonicalize_name(self.distribution) == "scalecore":
            pytest.skip("this is scalecore itself")
        lines = importlib.metadata.requires(self.distribution) or []
        own = [one for one in map(Requirement, lines) if canonicalize_name(one.name) == "scalecore"]
        found = [one for one in own if one.marker is None]
        assert found, "add scalecore to the dependencies of the distribution"
        (requirement,) = found
        operators = {clause.operator for clause in requirement.specifier}
        assert operators & {">=", ">", "==", "~="}, f"{requirement}: no lower bound"
        assert operators & {"<", "<=", "==", "~="}, f"{requirement}: no upper bound"
        assert requirement.specifier.contains(Version(__version__), prereleases=True)

    def test_its_component_names_are_unique(self, installed: Registry) -> None:
        """No other installed distribution provides a component of the same kind and name."""
        mine = self._plugins(installed)
        for several in installed.conflicts():
            providers = " and ".join(f"{one.provider} {one.version}" for one in several)
            ours = any(one.plugin in mine for one in several)
            assert not ours, f"{several[0].kind} {several[0].name!r} is provided by {providers}; rename yours"


def _has_required_options(component: Registered) -> bool:
    from scalecore.config.fields import fields_of

    return any(one.required for one in fields_of(component.record.options))
