"""Read a table of points for a scaling law: a CSV file with one row per run."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from attrs import field, frozen

from scalecore.api.errors import DataError
from scalecore_analysis.scaling.budgets import BudgetRuns, Run
from scalecore_analysis.studies import listed

__all__ = ["PointsTable", "read_table"]

REQUIRED = ("parameters", "loss")
AMOUNTS = ("windows", "tokens")
"""Column names of D, the amount of training data, in any unit."""
NUMBERS = (*REQUIRED, *AMOUNTS, "weight")
NAMES = ("configuration", "seed", "budget")
SHOWN = 40
"""Maximum number of characters of a file in a message."""
SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}

Row = Mapping[str, str]


@frozen(kw_only=True)
class PointsTable:
    """The rows as points, with one `BudgetRuns` per cell: rows with the same N, D and configuration."""

    cells: list[BudgetRuns]
    ignored: tuple[str, ...] = ()
    """Columns that are not used."""
    weighted: bool = False


@frozen(kw_only=True)
class _Point:
    line: int
    run: Run
    names: Mapping[str, str] = field(factory=dict)

    @property
    def cell(self) -> tuple[float, float | None, str]:
        return self.run.parameters, self.run.windows, self.names["configuration"]


def read_table(path: Path) -> PointsTable:
    """Read a CSV file with the columns `parameters` (N, in any unit) and `loss`, and optionally `windows` or `tokens`
    (D), `weight`, `configuration`, `seed` and `budget`.

    A table contains no data, split, edges, samples or baselines, so preconditions on them remain unknown. Raises
    `DataError` with line and column of an error.
    """
    header, rows = _rows(path)
    # An optional column without values counts as missing.
    given = [name for name in (*NUMBERS, *NAMES) if name in header and any(row[name] for _, row in rows)]
    columns = [*REQUIRED, *(name for name in given if name not in REQUIRED)]
    points = [_point(path, line, row, columns) for line, row in rows]
    _refuse_repeats(path, points)
    groups: dict[tuple[float, float | None, str], list[_Point]] = {}
    for point in points:
        groups.setdefault(point.cell, []).append(point)
    found = [BudgetRuns(label=_label(group), runs=tuple(point.run for point in group)) for group in groups.values()]
    return PointsTable(
        cells=sorted(found, key=lambda one: (one.parameters, one.runs[0].windows or 0.0)),
        ignored=tuple(name for name in header if name and name not in (*NUMBERS, *NAMES)),
        weighted=len({point.run.weight for point in points}) > 1,
    )


def _rows(path: Path) -> tuple[list[str], list[tuple[int, Row]]]:
    """The header, and each non-empty row with its line number."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream, strict=True)
            try:
                lines = [(reader.line_num, [value.strip() for value in line]) for line in reader]
            except csv.Error as error:
                raise DataError(f"{path}:{reader.line_num}: not valid CSV: {error}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as CSV: {error}") from error
    lines = [(number, line) for number, line in lines if any(line)]
    if not lines:
        raise DataError(f"{path} is empty; it needs a header with `parameters` and `loss`, then one row per run")
    (_, header), *rows = lines
    _check_header(path, header)
    if not rows:
        raise DataError(f"{path} has a header and no rows; it needs one row per run")
    for number, line in rows:
        if len(line) != len(header):
            raise DataError(f"{path}:{number}: {len(line)} values, but the header names {len(header)} columns")
    return header, [(number, dict(zip(header, line, strict=True))) for number, line in rows]


def _check_header(path: Path, header: Sequence[str]) -> None:
    repeated = [name for name in dict.fromkeys(header) if name and header.count(name) > 1]
    if repeated:
        raise DataError(f"{path}: column {repeated[0][:SHOWN]!r} appears {header.count(repeated[0])} times")
    for name in REQUIRED:
        if name not in header:
            separator = next((one for one in SEPARATORS if one in "".join(header)), None)
            hint = f"; the separator seems to be {SEPARATORS[separator]}, not commas" if separator else ""
            raise DataError(
                f"{path}: no column {name!r}; `parameters` and `loss` are required, one row per run. Columns: "
                f"{listed([repr(one[:SHOWN]) for one in header])}{hint}"
            )
    if all(name in header for name in AMOUNTS):
        raise DataError(f"{path}: both `windows` and `tokens` are columns; only one can be D")


def _point(path: Path, line: int, row: Row, columns: Sequence[str]) -> _Point:
    numbers = {name: _number(path, line, name, row[name]) for name in columns if name in NUMBERS}
    windows = next((numbers[name] for name in AMOUNTS if name in numbers), None)
    run = Run(
        parameters=numbers["parameters"], loss=numbers["loss"], windows=windows, weight=numbers.get("weight", 1.0)
    )
    return _Point(line=line, run=run, names={name: row[name] if name in columns else "" for name in NAMES})


def _number(path: Path, line: int, column: str, text: str) -> float:
    if not text:
        raise DataError(f"{path}:{line}: no value in column {column!r}")
    try:
        number = float("" if "_" in text else text)  # Python accepts 1_000
    except ValueError:
        raise DataError(f"{path}:{line}: column {column!r} must be a number, not {text[:SHOWN]!r}") from None
    if not 0 < number < math.inf:
        raise DataError(f"{path}:{line}: column {column!r} must be finite and above zero, not {text[:SHOWN]!r}")
    return number


def _refuse_repeats(path: Path, points: Sequence[_Point]) -> None:
    """Refuse a repeated run, which would count twice and make intervals too narrow."""
    seen: dict[tuple[object, ...], int] = {}
    for point in points:
        key = (*point.cell, point.names["seed"]) if point.names["seed"] else (*point.cell, point.run.loss)
        first = seen.setdefault((*key, point.names["budget"]), point.line)
        if first == point.line:
            continue
        what, column = ("seed", "configuration") if point.names["seed"] else ("loss", "seed")
        raise DataError(
            f"{path}:{point.line}: same parameters, D, configuration and {what} as line {first}, so one run would "
            f"count twice: remove a row, or distinguish two runs in a column `{column}`"
        )


def _label(group: Sequence[_Point]) -> str:
    """The label of a cell: its budgets if named, else its N, and its D and configuration."""
    run, names = group[0].run, group[0].names
    budgets = dict.fromkeys(point.names["budget"] for point in group if point.names["budget"])
    return ", ".join([*(budgets or [f"N {run.parameters:.6g}"]), *_details(run, names)])


def _details(run: Run, names: Mapping[str, str]) -> Iterator[str]:
    if run.windows is not None:
        yield f"D {run.windows:.6g}"
    if names["configuration"]:
        yield names["configuration"]
