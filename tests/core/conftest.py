"""Plugins that tests write as distributions: a `.dist-info` folder and a module."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest


class FakePlugins:
    """Writes distributions to folders that are on `sys.path` during the test."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        self._monkeypatch = monkeypatch
        self._modules: list[str] = []

    def __call__(
        self,
        name: str,
        *,
        version: str = "1.0",
        entry_point: str | None = None,
        module: str | None = None,
        code: str = "",
        requires: Sequence[str] = (),
        group: str = "scalecore",
        folder: str = "",
    ) -> Path:
        """Write a distribution with one plugin module and return its folder."""
        place = self.root / folder
        key = name.lower().replace("-", "_")
        module = module or f"fake_{key}"
        info = place / f"{key}-{version}.dist-info"
        info.mkdir(parents=True)
        lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
        lines += [f"Requires-Dist: {requirement}" for requirement in requires]
        (info / "METADATA").write_text("\n".join(lines) + "\n")
        (info / "entry_points.txt").write_text(f"[{group}]\n{entry_point or key} = {module}\n")
        if module.isidentifier():
            (place / f"{module}.py").write_text(code)
            self._modules.append(module)
        self._monkeypatch.syspath_prepend(str(place))
        return place

    def forget(self) -> None:
        """Forget the modules, so that the next test can write others of the same names."""
        for module in self._modules:
            sys.modules.pop(module, None)

    @staticmethod
    def model(name: str, *, options: str = "") -> str:
        """The code of a plugin with one model; `options` are the lines of its options class."""
        return f"""
from typing import Annotated, Literal
from pathlib import Path
from annotated_types import *
from attrs import frozen
from scalecore import hookimpl
from scalecore.api.options import ExistingFile, option
from scalecore.api.components import ModelRecord

@frozen(kw_only=True)
class Options:
    '''Options of a test.'''
    {options.strip() or "pass"}

@hookimpl
def scalecore_models():
    return [ModelRecord(name={name!r}, summary="A model of a test.", options=Options, factory=lambda options: None)]
"""


@pytest.fixture
def fake_plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakePlugins]:
    """A function that writes a distribution to the temporary folder."""
    plugins = FakePlugins(tmp_path, monkeypatch)
    yield plugins
    plugins.forget()
