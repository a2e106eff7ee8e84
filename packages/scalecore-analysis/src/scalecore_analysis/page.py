"""What all figures share: how an empty one looks, and names in it that hold no HTML."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

__all__ = ["label", "new_figure"]

GRID = "rgba(128,128,128,0.25)"


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
