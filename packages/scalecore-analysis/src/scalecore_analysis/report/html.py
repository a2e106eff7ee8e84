"""Pages: sections, figures and the table of all trials in one file that opens offline, Plotly's script included.

Its content security policy forbids the browser to fetch anything; every text is escaped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader
from markupsafe import Markup

from scalecore.api.markdown import cell
from scalecore_analysis.report.section import Row, Section

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

__all__ = ["figure_page", "report_page", "shown"]


def report_page(title: str, sentence: str, sections: Sequence[Section], trials: Sequence[Row]) -> str:
    """The HTML of one study; `trials` are all of them, in place of the tables of the last section."""
    chapters = [_chapter(one, {name: make() for name, make in one.figures.items()}) for one in sections[:-1]]
    return _rendered(title=title, sentence=sentence, chapters=chapters, trials=trials)


def figure_page(title: str, figures: Mapping[str, Figure]) -> str:
    """The HTML of figures by their titles, each a chapter, and of nothing else."""
    chapters = [_chapter(Section(title=name), {"": figure}) for name, figure in figures.items()]
    return _rendered(title=title, sentence="", chapters=chapters, trials=None)


def _chapter(section: Section, figures: Mapping[str, Figure]) -> dict[str, Any]:
    return {"section": section, "figures": {name: _figure(one) for name, one in figures.items()}}


def _rendered(**content: Any) -> str:
    from plotly.offline import get_plotlyjs

    environment = Environment(loader=PackageLoader("scalecore_analysis.report"), autoescape=True, trim_blocks=True)
    environment.globals.update(shown=shown, raw=_raw, columns=_columns, numeric=_numeric)
    return environment.get_template("report.html.jinja").render(**content, plotly=Markup(get_plotlyjs()))


def shown(value: Any) -> str:
    """A cell as text: numbers as in the Markdown, texts as they are."""
    return value if isinstance(value, str) else cell(value)


def _raw(value: Any) -> str | None:
    """The number that a cell is sorted by, unrounded; None for a text."""
    return repr(value) if isinstance(value, int | float) else None


def _columns(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row))


def _numeric(rows: Sequence[Row], name: str) -> bool:
    return all(isinstance(row.get(name), int | float | None) for row in rows)


def _figure(figure: Figure) -> Markup:
    figure.update_yaxes(automargin=True, title_standoff=12)
    config = {"displaylogo": False, "responsive": True, "showSendToCloud": False}
    return Markup(figure.to_html(full_html=False, include_plotlyjs=False, config=config))
