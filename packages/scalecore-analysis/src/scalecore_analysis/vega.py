"""Figures as Vega-Lite specifications: interactive on a page, and SVG, PNG or PDF without a browser.

Names are values in the data or titles of axes, never field names: Vega-Lite interprets `.`, `[` and `'` in these.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from itertools import cycle
from typing import TYPE_CHECKING, Any, Literal

from attrs import field, frozen

if TYPE_CHECKING:
    import altair as alt

__all__ = ["FileFormat", "Point", "Scale", "Series", "Spec", "figure", "histogram", "javascript", "static_figure"]

Spec = dict[str, Any]
FileFormat = Literal["svg", "png", "pdf"]
Mark = Literal["area", "rule", "line", "point"]
Scale = Literal["linear", "log", "utc"]

GREY = "#808080"
"""Visible on light and on dark."""
PALETTE = ("#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2", "#7f7f7f", "#bcbd22", "#17becf")
SYMBOLS: Mapping[Mark, str] = {"area": "square", "rule": "stroke", "line": "stroke", "point": "circle"}
UNSEEN: Spec = {"opacity": 0, "shape": "stroke"}
"""The style of points on a line that only show a tooltip."""
DEFAULTS: Mapping[Mark, Spec] = {
    "area": {"opacity": 0.2},
    "rule": {},
    "line": {},
    "point": {"filled": True, "opacity": 0.9, "size": 36},
}
STATIC_WIDTH = 720
SHORT = "datum.label && format(datum.value, datum.value < 1000 ? '~g' : '~s')"
"""Labels of a logarithmic axis such as `0.25`, `50k` and `2M`."""
WHOLE = "datum.value % 1 ? '' : format(datum.value, ',')"
"""No labels between whole numbers."""
TEXT: Spec = {"labelColor": "currentColor", "labelFontSize": 12, "titleColor": "currentColor"}
CONFIG: Spec = {
    "background": None,
    "font": "system-ui, sans-serif",
    "view": {"stroke": None},
    "axis": {
        **TEXT,
        "domain": False,
        "gridColor": "#80808040",
        "tickColor": "#80808040",
        "titleFontSize": 13,
        "titleFontWeight": "normal",
        "titlePadding": 12,
    },
    "legend": {**TEXT, "labelLimit": 320, "orient": "bottom", "symbolOpacity": 1},
}
"""`currentColor` is the colour of the page's text, light or dark, and black in a file."""


@frozen(kw_only=True)
class Point:
    """One row of the data. Missing and non-finite numbers are not drawn."""

    x: float | str | None
    """A number, or on the scale `utc` a time in ISO 8601."""
    y: float | None = None
    low: float | None = None
    high: float | None = None
    text: str | None = None
    """The heading of the tooltip; the default is the name of the series."""
    path: int | None = None
    """The line of the point, if a series has several."""


@frozen(kw_only=True)
class Series:
    """One entry of the legend; a click on it hides or shows the series."""

    name: str
    points: Sequence[Point]
    marks: Sequence[Mark] = ("point",)
    """From back to front. `area` and `rule` extend from `low` to `high`; `line` and `point` are at `y`. Only a point
    has a tooltip."""
    colour: str | None = None
    style: Mapping[str, Any] = field(factory=dict)
    """Vega-Lite properties of the frontmost mark."""
    hidden: bool = False
    """Hidden until the user clicks its legend entry."""


def figure(
    *series: Series,
    x: str,
    y: str,
    scale: Scale = "linear",
    vertical: Scale = "linear",
    levels: Mapping[str, float] | None = None,
) -> Spec:
    """Series with different names on titled axes; `scale` applies to x, `vertical` to y, `levels` are horizontal lines
    by name."""
    import altair as alt

    rows = [row for one in series for point in one.points if (row := _row(one.name, point, scale)) is not None]
    whole = all(isinstance(row["x"], float) and row["x"].is_integer() for row in rows)
    labels = alt.Axis(labelExpr=SHORT) if scale == "log" else alt.Axis(labelExpr=WHOLE, tickMinStep=1)
    across = alt.X(
        "x:T" if scale == "utc" else "x:Q",
        title=x,
        scale=alt.Scale(type=scale, nice=False, padding=12, zero=False if scale == "linear" else alt.Undefined),
        axis=labels if scale == "log" or whole else alt.Undefined,
    )
    visible = [{"series": one.name} for one in series if not one.hidden]
    shown = alt.selection_point(name="shown", fields=["series"], bind="legend", toggle="true", value=visible)
    # The wheel without Ctrl, and touch, scroll the page.
    drag = "[pointerdown[event.pointerType === 'mouse'], window:pointerup] > window:pointermove!"
    zoom = alt.selection_interval(name="zoom", bind="scales", translate=drag, zoom="wheel![event.ctrlKey]")
    fields = {**({} if scale == "utc" else {"x": x}), "y": y, "low": "low", "high": "high"}
    upright = {"title": y, **_upright(vertical, padding=20 if levels else 8)}  # room for the name of a level
    layers = [layer.encode(x=across).transform_filter(shown) for layer in _layers(series, upright, fields=fields)]
    layers += [layer for name, value in (levels or {}).items() for layer in _level(name, value)]
    return _spec(alt.LayerChart(layer=layers).add_params(shown, zoom), rows)


def histogram(values: Sequence[float], *, x: str, y: str, bins: int) -> Spec:
    """Counts of the values in at most `bins` ranges of equal width."""
    import altair as alt

    ranges = alt.X("x:Q", bin=alt.Bin(maxbins=bins), title=x)
    count = alt.Y("count()", title=y, axis=alt.Axis(labelExpr=WHOLE, tickMinStep=1))
    tooltip = [alt.Tooltip("x:Q", bin=alt.Bin(maxbins=bins), title=x), alt.Tooltip("count()", title=y)]
    chart = alt.Chart().mark_bar(color="#3d8bd4").encode(x=ranges, y=count, tooltip=tooltip)
    return _spec(chart, [{"x": value} for value in values])


def static_figure(spec: Spec, kind: FileFormat) -> str | bytes:
    """The figure as the content of a file."""
    import vl_convert

    sized = {**spec, "width": STATIC_WIDTH, "background": "white"}
    if kind == "png":
        return vl_convert.vegalite_to_png(sized, vl_version=_version(), scale=2)
    return (vl_convert.vegalite_to_svg if kind == "svg" else vl_convert.vegalite_to_pdf)(sized, vl_version=_version())


@cache
def javascript() -> str:
    """Vega, Vega-Lite and vega-embed as one script that defines `vegaEmbed`; it takes a second."""
    import vl_convert

    return vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=_version())


def _version() -> str:
    """The version of Vega-Lite that Altair writes, as `v6.4`."""
    from altair import SCHEMA_VERSION

    return ".".join(SCHEMA_VERSION.split(".")[:2])


def _row(series: str, point: Point, scale: Scale) -> Spec | None:
    """None if the point is not on the axis: a logarithmic axis has no zero or negative values."""
    x = point.x if isinstance(point.x, str) else _finite(point.x)
    if x is None or (scale == "log" and isinstance(x, float) and x <= 0):
        return None
    numbers = {"x": x, "y": _finite(point.y), "low": _finite(point.low), "high": _finite(point.high)}
    row = {"series": series, **numbers, "text": point.text, "path": point.path}
    return {name: value for name, value in row.items() if value is not None}


def _finite(value: float | None) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None


def _layers(series: Sequence[Series], upright: Spec, *, fields: Mapping[str, str]) -> Iterator[alt.Chart]:
    """One layer per mark of each series, with common colours, symbols and legend.

    `upright` is the encoding of y, `fields` are lines of tooltips.
    """
    import altair as alt

    names, palette = [one.name for one in series], cycle(PALETTE)
    colours = alt.Scale(domain=names, range=[one.colour or next(palette) for one in series])
    symbols = alt.Scale(domain=names, range=[one.style.get("shape", SYMBOLS[one.marks[-1]]) for one in series])
    # The container's width: the axes' width depends on the legend, whose last lines would be cut off.
    width = f"(width && containerSize()[0] || {STATIC_WIDTH}) / {7 * max(map(len, names), default=0) + 40}"
    # A file has no container and no clicks: its legend omits hidden series.
    entries = f"containerSize()[0] ? {json.dumps(names)} : {json.dumps([one.name for one in series if not one.hidden])}"
    legend = (
        alt.Legend(title=None, columns=alt.ExprRef(f"max(1, floor({width}))"), values=alt.ExprRef(entries))
        if len(names) > 1
        else None
    )
    for one in series:
        given = {name for name in ("text", *fields) if any(getattr(point, name) is not None for point in one.points)}
        heading = [alt.Tooltip("text:N", title="title"), alt.Tooltip("series:N")]
        tooltip = heading if "text" in given else [alt.Tooltip("series:N", title="title")]
        tooltip += [alt.Tooltip(f"{name}:Q", title=title) for name, title in fields.items() if name in given]
        for mark in one.marks:
            style = {**DEFAULTS[mark], **(one.style if mark == one.marks[-1] else {})}
            layer = getattr(alt.Chart(), f"mark_{mark}")(**{name: style[name] for name in style if name != "shape"})
            layer = layer.transform_filter(alt.FieldEqualPredicate(field="series", equal=one.name))
            layer = layer.encode(color=alt.Color("series:N", scale=colours, legend=legend), detail="path:N")
            start = "low:Q" if mark in ("area", "rule") else "y:Q"
            layer = layer.encode(y=alt.Y(start, **upright))
            if mark in ("area", "rule"):
                layer = layer.encode(y2="high")
            elif mark == "point":
                layer = layer.encode(shape=alt.Shape("series:N", scale=symbols, legend=legend), tooltip=tooltip)
            yield layer


def _upright(scale: Scale, *, padding: int) -> Spec:
    """Scale and axis of y."""
    import altair as alt

    if scale == "log":
        return {"scale": alt.Scale(type="log", nice=False, padding=padding), "axis": alt.Axis(labelExpr=SHORT)}
    return {"scale": alt.Scale(zero=False, padding=padding)}


def _level(name: str, value: float) -> list[alt.Chart]:
    """A dashed line with its name at the right end."""
    import altair as alt

    base = alt.Chart(alt.InlineData(values=[{"level": value, "text": name}])).encode(y="level:Q")
    written = base.mark_text(align="right", baseline="bottom", dx=-4, dy=-3, color="currentColor")
    return [
        base.mark_rule(color=GREY, strokeDash=[6, 4]).encode(tooltip=["text:N", "level:Q"]),
        written.encode(x=alt.value("width"), text="text:N"),
    ]


def _spec(chart: alt.Chart | alt.LayerChart, rows: Sequence[Spec]) -> Spec:
    """Add the rows last, because Altair would validate each of them against its schema."""
    import altair as alt

    chart = chart.properties(data=alt.NamedData(name="rows"), width="container", height=340)
    chart = chart.properties(autosize=alt.AutoSizeParams(type="fit-x", contains="padding"))
    spec: Spec = chart.to_dict()
    return {**spec, "config": CONFIG, "datasets": {**spec.get("datasets", {}), "rows": list(rows)}}
