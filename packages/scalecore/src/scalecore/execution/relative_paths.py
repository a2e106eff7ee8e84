"""A descriptor for paths in a folder. Imports no other module of scalecore: `scalecore check` needs it."""

from pathlib import Path
from typing import Any


class Below:
    """The path of a file or folder with this name under the `path` of the owner."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, folder: Any, kind: type) -> Path:
        found: Path = folder.path / self._name
        return found
