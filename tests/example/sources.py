"""Writes the sources and tests of a scaffolded package of each kind into one folder, for mypy: `sources.py FOLDER`."""

from __future__ import annotations

import sys
from pathlib import Path

from scalecore.scaffold.names import PLUGIN_KINDS, Names
from scalecore.scaffold.package import package_files, write_package

if __name__ == "__main__":
    found: dict[str, str] = {}
    for kind in PLUGIN_KINDS:
        files = package_files(Names(name=f"my-{kind}", module=f"my_{kind}", prefix="My"), kind=kind)
        found |= {path.removeprefix("src/"): text for path, text in files.items() if path.startswith("src/")}
        found[f"test_my_{kind}.py"] = files["tests/test_plugin.py"]
    write_package(Path(sys.argv[1]), found)
