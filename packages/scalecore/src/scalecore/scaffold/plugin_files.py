"""Create a working plugin in one file and its test from templates, alone or as an installable distribution.

The templates are valid Python with the names `my-KIND`, `my_KIND` and `MyKind`, which are replaced.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from scalecore import __version__
from scalecore.api.errors import ExperimentError

if TYPE_CHECKING:
    from scalecore.scaffold.names import Names

USES: Mapping[str, str] = {
    "dataset": "dataset: {use: my-dataset, file: prices.csv}",
    "model": "model: {use: my-model, width: [8, 16, 32], depth: [1, 2]}",
    "strategy": "search: {use: my-strategy, explore: 0.3}  # and trials, budget, space",
    "logger": "loggers: [console, files, my-logger]",
    "monitor": "monitors: [{use: my-monitor, pause_above: 1.5}]",
    "executor": 'execution: {use: my-executor, prefix: [nice, -n, "10"]}',
    "analysis": "analyses: [my-analysis]",
    "trainer": 'training: {use: function, target: "./my_trainer.py:train"}',
}
"""How an experiment file uses a component of each kind."""

_IMPORTS = {"model": ', "torch>=2.10", "scalecore-torch$range"', "dataset": ', "numpy>=2.0"'}
"""Additional requirements of a package of this kind; the test kit of models is in the package of their trainer."""


def plugin_files(names: Names, *, kind: str) -> dict[str, str]:
    """The plugin and its test, by file name; `kind` is one of `scalecore.scaffold.names.PLUGIN_KINDS`."""
    source, test = _template(f"my_{kind}.py"), _template(f"test_my_{kind}.py")
    title, prefix = f"My{kind.capitalize()}", names.prefix
    while re.search(rf"\b{prefix}(Options)?\b", source.replace(title, "")):  # a class that the file imports
        prefix = f"My{prefix}"

    def renamed(text: str) -> str:
        return text.replace(f"my-{kind}", names.name).replace(f"my_{kind}", names.module).replace(title, prefix)

    return {f"{names.module}.py": renamed(source), f"test_{names.module}.py": renamed(test)}


def package_files(names: Names, *, kind: str) -> dict[str, str]:
    """The same two files as a distribution, by path in its folder."""
    (_, source), (test, body) = plugin_files(names, kind=kind).items()
    more = _IMPORTS.get(kind, "").replace("$range", _range())
    values = {"range": _range(), "more": more, "use": USES[kind].replace(f"my-{kind}", names.name)}

    def filled(template: str) -> str:
        text = Template(_template(template)).substitute(values)
        return text.replace("my-name", names.name).replace("my_name", names.module)

    return {
        "README.md": filled("README.md"),
        "pyproject.toml": filled("pyproject.toml"),
        f"src/{names.module}/__init__.py": source,
        f"src/{names.module}/py.typed": "",
        f"tests/{test}": body,
        "tests/test_package.py": filled("test_package.py"),
    }


def write_files(folder: Path, found: Mapping[str, str]) -> None:
    """Write the files. Raises `ExperimentError` if one exists already or cannot be written."""
    for path in (folder / name for name in found):
        if path.exists() or path.is_symlink():
            raise ExperimentError(f"{path} already exists; choose another name, or another folder with --into")
    try:
        for name, text in found.items():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise ExperimentError(f"{error.filename or folder}: cannot be written ({error.strerror or error})") from None


def _template(name: str) -> str:
    return files("scalecore.scaffold").joinpath("templates", f"{name}.txt").read_text(encoding="utf-8")


def _range() -> str:
    """The versions of scalecore that a new plugin may require: before 1.0 a minor version may change anything."""
    major, minor = map(int, __version__.split(".")[:2])
    return f">={major}.{minor},<{f'0.{minor + 1}' if major == 0 else major + 1}"
