"""HTML pages with sections, figures and the table of all trials, in one file that opens offline with Vega's script.

The content security policy blocks all requests, and every text is escaped.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from jinja2 import Environment, PackageLoader
from markupsafe import Markup

from scalecore.api.markdown import cell
from scalecore_analysis.report.measured import Measured, columns_of
from scalecore_analysis.report.section import Row, Section
from scalecore_analysis.vega import FileFormat, Spec, javascript, static_figure

__all__ = ["figure_files", "figure_page", "file_name", "report_page", "section_page", "shown"]


def report_page(title: str, sentence: str, sections: Sequence[Section], trials: Sequence[Row]) -> str:
    """The HTML of one study; `trials` contains all trials and replaces the last section."""
    return _rendered(title=title, sentence=sentence, sections=sections[:-1], trials=trials)


def figure_page(title: str, figures: Mapping[str, Spec]) -> str:
    """The HTML of figures by title, one section each."""
    sections = [Section(title=name, figures={"": one}) for name, one in figures.items()]
    return _rendered(title=title, sentence="", sections=sections, trials=None)


def section_page(
    title: str, sentence: str, sections: Sequence[Section], *, pages: Mapping[str, str] | None = None
) -> str:
    """The HTML of sections with texts, tables and figures; `pages` are files by name to which it has links."""
    return _rendered(title=title, sentence=sentence, sections=sections, trials=None, pages=pages or {})


def figure_files(
    figures: Mapping[str, Spec], formats: Sequence[FileFormat], taken: Collection[str] = ()
) -> dict[str, str | bytes]:
    """The files of figures, with names derived from their titles."""
    files: dict[str, str | bytes] = {}
    for title, one in figures.items():
        for kind in formats:
            files[file_name(title, kind, [*taken, *files])] = static_figure(one, kind)
    return files


def file_name(text: str, suffix: str, taken: Collection[str]) -> str:
    """A plain file name derived from a text, and not in `taken`."""
    stem = re.sub(r"[^A-Za-z0-9_-]+", "-", text).strip("-")[:80] or "study"
    name, count = f"{stem}.{suffix}", 1
    while name.lower() in {one.lower() for one in taken}:
        count += 1
        name = f"{stem}-{count}.{suffix}"
    return name


def _rendered(**content: Any) -> str:
    environment = Environment(loader=PackageLoader("scalecore_analysis.report"), autoescape=True, trim_blocks=True)
    environment.globals.update(shown=shown, raw=_raw, columns=columns_of, numeric=_numeric)
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
    given = {"pages": {}, **content}
    return environment.get_template("report.html.jinja").render(**given, vega=Markup(javascript()))


def shown(value: Any) -> str:
    """A cell as text: numbers formatted as in the Markdown, texts unchanged."""
    return str(value) if isinstance(value, str | Measured) else cell(value)


def _raw(value: Any) -> str | None:
    """The unrounded number by which a cell is sorted; None for a text."""
    return repr(value) if isinstance(value, int | float) else None


def _numeric(rows: Sequence[Row], name: str) -> bool:
    return all(isinstance(row.get(name), int | float | Measured | None) for row in rows)
