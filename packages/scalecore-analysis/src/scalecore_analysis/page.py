"""One HTML page with figures that opens offline: Plotly's script is in it, once, and nothing is fetched."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING, Any

from jinja2 import Environment
from markupsafe import Markup

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

__all__ = ["figure_page", "label", "new_figure"]

GRID = "rgba(128,128,128,0.25)"

_TEMPLATE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title>
<style>
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 60rem; padding: 1rem; }
h2 { font-size: 1.1rem; margin: 2rem 0 0.5rem; }
</style>
<script>{{ script }}</script>
</head>
<body>
<h1>{{ title }}</h1>
{% for name, figure in figures.items() %}
<section>
<h2>{{ name }}</h2>
{{ figure }}
</section>
{% endfor %}
</body>
</html>
"""


def figure_page(title: str, figures: Mapping[str, Figure]) -> str:
    """The page; title and names are escaped."""
    from plotly.offline import get_plotlyjs

    config = {"displaylogo": False, "responsive": True}
    drawn = {
        name: Markup(figure.to_html(full_html=False, include_plotlyjs=False, config=config))
        for name, figure in figures.items()
    }
    template = Environment(autoescape=True).from_string(_TEMPLATE)
    return template.render(title=title, figures=drawn, script=Markup(get_plotlyjs()))


def new_figure(*, x: str, y: str, **axes: Any) -> Figure:
    """An empty figure that can be read on light and on dark; `axes` are further settings such as `xaxis_type`."""
    from plotly.graph_objects import Figure

    figure = Figure()
    figure.update_layout(
        template="none",
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"color": "#808080"},
        height=460,
        margin={"l": 70, "r": 20, "t": 20, "b": 60},
        legend={"orientation": "h", "y": -0.2},
        xaxis={"title": {"text": x}, "gridcolor": GRID, "zerolinecolor": GRID},
        yaxis={"title": {"text": y}, "gridcolor": GRID, "zerolinecolor": GRID},
    )
    figure.update_layout(**axes)
    return figure


def label(text: str) -> str:
    """A name for a legend or a tooltip: Plotly reads a little HTML there, and names may hold anything."""
    return escape(text)
