"""Write the output of `scalecore new` for each kind to one folder, for mypy: `sources.py FOLDER`."""

from __future__ import annotations

import sys
from pathlib import Path

from scalecore.scaffold.names import PLUGIN_KINDS, Names
from scalecore.scaffold.plugin_files import plugin_files, write_files

if __name__ == "__main__":
    found: dict[str, str] = {}
    for kind in PLUGIN_KINDS:
        prefix = f"Own{kind.capitalize()}"
        found |= plugin_files(Names(name=f"own-{kind}", module=f"own_{kind}", prefix=prefix), kind=kind)
    write_files(Path(sys.argv[1]), found)
