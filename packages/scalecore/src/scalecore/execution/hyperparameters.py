"""The hyper-parameters of a trial, with a record of which were read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from scalecore.api.space import Value


class Hyperparameters:
    """The values of one trial by name.

    Every read is recorded, to detect values that are never used (guard G03).
    """

    def __init__(self, values: Mapping[str, Value]) -> None:
        self._values = dict(values)
        self._read: set[str] = set()

    def __getitem__(self, name: str) -> Value:
        if name not in self._values:
            raise KeyError(
                f"hyper-parameter {name!r} was read but is not declared; declared: {', '.join(self._values)}"
            )
        self._read.add(name)
        return self._values[name]

    def unread(self, names: Sequence[str]) -> list[str]:
        """Return those of `names` that were not read."""
        return [name for name in names if name not in self._read]
