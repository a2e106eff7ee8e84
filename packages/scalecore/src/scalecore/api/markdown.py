"""Markdown tables that are also readable in a terminal: aligned columns, escaped cells."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from scalecore.api.escaping import printable

__all__ = ["cell", "escaped", "table"]

_TAG = re.compile(r"<(?=[A-Za-z/!?])")


def table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the lines of a table and a final empty line; columns are the keys in the order of their first occurrence.

    Numbers are right-aligned, missing values (None) are empty cells. Without rows, the text is `None.`.
    """
    if not rows:
        return ["None.", ""]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    numeric = {name: all(_is_number(row.get(name)) for row in rows) for name in columns}
    texts = [[escaped(name) for name in columns], *([cell(row.get(name)) for name in columns] for row in rows)]
    widths = [max(3, *(len(line[index]) for line in texts)) for index in range(len(columns))]
    lines = [
        "| "
        + " | ".join(
            text.rjust(width) if numeric[name] else text.ljust(width)
            for text, width, name in zip(line, widths, columns, strict=True)
        )
        + " |"
        for line in texts
    ]
    rule = [f"{'-' * (width + 1)}{':' if numeric[n] else '-'}" for n, width in zip(columns, widths, strict=True)]
    return [lines[0], "|" + "|".join(rule) + "|", *lines[1:], ""]


def cell(value: Any) -> str:
    """Return a value as a cell: four significant digits for floats, thousands separators for large integers."""
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}" if abs(value) >= 10_000 else str(value)
        case float():
            return f"{value:.4g}"
    return escaped(str(value))


def escaped(text: str) -> str:
    """Return `text` on one line, escaped for Markdown, HTML in Markdown, and terminals."""
    line = printable(" ".join(text.split()))
    return _TAG.sub(r"\\<", line).replace("|", "\\|")


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))
