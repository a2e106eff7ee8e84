"""Paths in a folder as a table of their names. Imports nothing else: `scalecore check` needs it."""

from pathlib import Path
from typing import Any


class Below:
    """The path of a file or folder by its name in a folder that has a `path`."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, folder: Any, kind: type) -> Path:
        found: Path = folder.path / self._name
        return found
