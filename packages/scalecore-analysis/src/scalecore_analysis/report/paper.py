"""Tables as files for papers: CSV with all digits, and LaTeX with the digits that a reader needs."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from typing import Any, Literal

from scalecore.api.escaping import printable, spreadsheet_cell
from scalecore_analysis.report.html import file_name
from scalecore_analysis.report.measured import Measured, columns_of, flattened, significant
from scalecore_analysis.report.section import Row, Section

__all__ = ["TableFormat", "csv_table", "escaped", "latex_table", "table_files"]

TableFormat = Literal["csv", "tex"]

LONG = 28
"""Number of characters from which a column of text gets a fixed width, in which its lines wrap."""
MANY = 6
"""More columns are set in smaller letters, closer together."""
WIDTH = 0.9
"""Share of the line for all columns of fixed width together."""

ESCAPES = {
    "\\": r"\textbackslash{}",
    **{letter: f"\\{letter}" for letter in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    "`": r"\textasciigrave{}",
    "\N{EN DASH}": "--",
    "\N{EM DASH}": "---",
    "\N{HORIZONTAL ELLIPSIS}": r"\dots{}",
    "\N{MULTIPLICATION SIGN}": r"$\times$",
    "\N{PLUS-MINUS SIGN}": r"$\pm$",
    "\N{MIDDLE DOT}": r"$\cdot$",
    "\N{MICRO SIGN}": r"$\mu$",
    "\N{DEGREE SIGN}": r"$^{\circ}$",
    "\N{SUPERSCRIPT TWO}": "$^{2}$",
    "\N{SUPERSCRIPT THREE}": "$^{3}$",
    "\N{LESS-THAN OR EQUAL TO}": r"$\leq$",
    "\N{GREATER-THAN OR EQUAL TO}": r"$\geq$",
    "\N{GREEK SMALL LETTER ALPHA}": r"$\alpha$",
    "\N{GREEK SMALL LETTER BETA}": r"$\beta$",
    "\N{GREEK SMALL LETTER SIGMA}": r"$\sigma$",
}
PLAIN = re.compile(r"[\0\x20-\x7e\u00a1-\u017f]")
"""Letters that every LaTeX since 2018 sets without a package."""


def table_files(sections: Sequence[Section], formats: Sequence[TableFormat], *, source: str) -> dict[str, str | bytes]:
    """The tables of sections in the folder `tables`, named after their titles; `source` is named in LaTeX files."""
    files: dict[str, str | bytes] = {}
    for section in sections:
        for title, rows in section.tables.items():
            for kind in formats:
                name = file_name(title.lower(), kind, [path.removeprefix("tables/") for path in files])
                if kind == "csv":
                    files[f"tables/{name}"] = csv_table(rows)
                    continue
                caption = f"{title}. {section.captions.get(title, '')}".strip()
                label = name.removesuffix(".tex")
                files[f"tables/{name}"] = latex_table(rows, caption=caption, label=label, source=source)
    return files


def csv_table(rows: Sequence[Row]) -> str:
    """All rows with unrounded numbers; missing values are empty, and no text can run as a formula."""
    flat, text = flattened(rows), io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = columns_of(flat)
    writer.writerow([spreadsheet_cell(printable(name)) for name in names])
    for row in flat:
        values = [row.get(name) for name in names]
        writer.writerow(["" if one is None else _csv_cell(one) for one in values])
    return text.getvalue()


def _csv_cell(value: Any) -> Any:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value if isinstance(value, int | float) else spreadsheet_cell(printable(str(value)))


def latex_table(rows: Sequence[Row], *, caption: str, label: str, source: str) -> str:
    """A float with a table in the style of booktabs; `source` becomes a comment in its first line.

    Intervals follow their value in brackets, numbers are right-aligned, long texts wrap. It needs `booktabs`, and
    `textcomp` in a LaTeX before 2020.
    """
    names = columns_of(rows) or ["none"]
    cells = [[_cell(row.get(name)) for name in names] for row in rows]
    return "\n".join(
        [
            f"% {_comment(source)}",
            r"% \usepackage{booktabs}",
            r"\begin{table}",
            r"  \centering",
            *([r"  \footnotesize", r"  \setlength{\tabcolsep}{4pt}"] if len(names) > MANY else []),
            rf"  \caption{{{escaped(caption)}}}",
            rf"  \label{{tab:{label}}}",
            rf"  \begin{{tabular}}{{{_alignment(rows, names)}}}",
            r"    \toprule",
            f"    {_line([escaped(name) for name in names])}",
            r"    \midrule",
            *(f"    {_line(line)}" for line in cells),
            r"    \bottomrule",
            r"  \end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def escaped(text: str) -> str:
    """The text on one line for LaTeX. Letters that LaTeX cannot set without a package become their code point."""
    line = printable(" ".join(text.split()))
    found = "".join(
        ESCAPES.get(letter) or (letter if PLAIN.match(letter) else rf"{{[}}U+{ord(letter):04X}{{]}}")
        for letter in line.replace("--", "-\0-").replace("--", "-\0-")
    )
    return found.replace("\0", "{}")  # two hyphens would become a dash


def _comment(text: str) -> str:
    return printable(" ".join(text.split()))


def _line(cells: Sequence[str]) -> str:
    # A bracket or an asterisk after the `\\` of the line before would be its argument.
    first, *rest = cells or [""]
    return " & ".join([f"{{}}{first}" if first.startswith(("[", "*")) else first, *rest]) + r" \\"


def _alignment(rows: Sequence[Row], names: Sequence[str]) -> str:
    wide = [name for name in names if not _numeric(rows, name) and _longest(rows, name) > LONG]
    total = sum(_longest(rows, name) for name in wide)
    forms = []
    for name in names:
        if name in wide:
            share = max(0.12, WIDTH * _longest(rows, name) / max(total, 1) * min(1.0, len(wide) / len(names) + 0.3))
            forms.append(rf"p{{{share:.2f}\linewidth}}")
        else:
            forms.append("r" if _numeric(rows, name) else "l")
    return "".join(forms)


def _longest(rows: Sequence[Row], name: str) -> int:
    return max((len(str(row[name])) for row in rows if row.get(name) is not None), default=0)


def _numeric(rows: Sequence[Row], name: str) -> bool:
    values = [row.get(name) for row in rows]
    return all(one is None or _is_number(one) for one in values) and any(one is not None for one in values)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | Measured) and not isinstance(value, bool)


def _cell(value: Any) -> str:
    match value:
        case None:
            return "--"
        case bool():
            return "yes" if value else "no"
        case int():
            return _number(f"{value:,}" if abs(value) >= 10_000 else str(value))
        case float():
            return _number(significant(value))
        case Measured():
            number, *ends = [_number(text) for text in value.texts]
            return f"{number} {{[}}{ends[0]}, {ends[1]}{{]}}" if ends else number
    return escaped(str(value))


def _number(text: str) -> str:
    """A minus as a minus, and a power of ten as one."""
    mantissa, _, exponent = text.partition("e")
    if exponent.lstrip("+-").isdigit():
        return rf"${mantissa}\times 10^{{{int(exponent)}}}$"
    return f"${text}$" if text.startswith("-") else text
