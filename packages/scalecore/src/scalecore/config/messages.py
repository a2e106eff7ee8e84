"""Problems of an experiment file, with their positions, reported all at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal, NoReturn

from attrs import frozen

from scalecore.api.errors import ExperimentError, PluginError
from scalecore.api.escaping import masked, printable

SHOWN = 50
"""Problems that a message lists at most; more of them usually have one cause."""
LONGEST = 1000
"""Characters of a key, an override or a message at most."""

KeyPath = tuple[str | int, ...]
"""The path of a value: `("monitors", 0, "pause_at")`."""


@frozen(kw_only=True)
class Position:
    """A position in the file, counted from 1; or an override on the command line: its text and the key that it sets."""

    source: str
    line: int = 0
    column: int = 0
    override: str | None = None
    sets: KeyPath = ()


@frozen(kw_only=True)
class Problem:
    """One problem. `kind` is `plugin` if the file may be correct, but a plugin is missing or broken."""

    position: Position
    path: KeyPath
    message: str
    kind: Literal["file", "plugin"] = "file"

    @property
    def text(self) -> str:
        """`experiment.yaml:14:5: search.trials: ...`, or `<command line>: search.trials=x: ...`."""
        position = self.position
        if position.override is not None:
            key = dotted(self.path) if self.path != position.sets else ""
            parts = ("<command line>", position.override, key, self.message)
        else:
            where = f"{position.source}:{position.line}:{position.column}" if position.line else position.source
            parts = (where, dotted(self.path), "", self.message)
        # Keys and overrides may contain anything, at any length; one problem is one line.
        shown = [masked(printable(part)) for part in parts if part]
        return ": ".join(part if len(part) <= LONGEST else f"{part[:LONGEST]}..." for part in shown)

    def as_json(self) -> dict[str, Any]:
        """The problem for programs; fields that do not apply are null."""
        return {
            "file": self.position.source if self.position.override is None else None,
            "line": self.position.line or None,
            "column": self.position.column or None,
            "override": None if self.position.override is None else masked(self.position.override),
            "key": dotted(self.path) or None,
            "kind": self.kind,
            "message": masked(self.message),
        }


class ExperimentFileError(ExperimentError):
    """The experiment file is invalid; `problems` contains all problems of the message."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__(_listed(self.problems))


class ComponentsError(PluginError):
    """No problem was found in the file, but components are missing or broken; `problems` lists them."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__(_listed(self.problems))


def raise_problems(problems: Iterable[Problem]) -> NoReturn:
    """Raise all problems, at least one, as one error: in file order, those of the command line last.

    The error is a `PluginError` only if all problems are those of plugins.
    """
    ordered = sorted(dict.fromkeys(problems), key=_order)
    if all(problem.kind == "plugin" for problem in ordered):
        raise ComponentsError(ordered)
    raise ExperimentFileError(ordered)


def _listed(problems: Sequence[Problem]) -> str:
    """One line per problem, and a last line with the number of omitted ones."""
    lines = [problem.text for problem in problems[:SHOWN]]
    left_out = len(problems) - SHOWN
    if left_out > 0:
        lines.append(f"and {left_out:,} more problem{'s' if left_out > 1 else ''}; `scalecore check --json` lists all")
    return "\n".join(lines)


def dotted(path: KeyPath) -> str:
    """A path in the form of overrides: `monitors.0.pause_at`."""
    return ".".join(map(str, path))


def _order(problem: Problem) -> tuple[bool, int, int]:
    return (problem.position.override is not None, problem.position.line, problem.position.column)
