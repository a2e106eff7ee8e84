"""Figures: their specifications, and their rendering by Vega-Lite without a browser."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

import pytest

from scalecore.api.trials import Origin, StudyView
from scalecore.store.layout import StudyFolder
from scalecore_analysis.options import ReportOptions
from scalecore_analysis.report.analysis import ReportAnalysis
from scalecore_analysis.report.html import figure_files, figure_page
from scalecore_analysis.vega import UNSEEN, Point, Series, Spec, figure, histogram, javascript, static_figure

from .conftest import COLLAPSED, addresses_of, figures_of, trial, with_plan

pytestmark = pytest.mark.slow

HOSTILE = """a.b[c]'"\\ </script><!--<script>alert(1)</script> {{x}} & ü"""


def drawn(spec: Spec) -> ElementTree.Element:
    """The SVG of a figure, rendered by Vega-Lite."""
    text = static_figure(spec, "svg")
    assert isinstance(text, str)
    return ElementTree.fromstring(text)


def marks(svg: ElementTree.Element, kind: str) -> list[ElementTree.Element]:
    """The marks of one kind in the plot, without the legend."""
    found = [one for one in svg.iter() if f"mark-{kind} role-mark" in one.get("class", "")]
    return [path for one in found for path in one if path.get("d") is None or len(path.get("d", "")) > 6]


def texts(svg: ElementTree.Element) -> list[str]:
    return [one.text or "" for one in svg.iter("{http://www.w3.org/2000/svg}text")]


def encodings(spec: Spec, mark: str) -> list[dict[str, Any]]:
    return [layer["encoding"] for layer in spec["layer"] if layer["mark"]["type"] == mark]


def test_a_series_has_its_points_its_colour_its_symbol_and_its_tooltip() -> None:
    """All layers share the data, the titles of the axes, and the legend."""
    spec = figure(
        Series(name="law", points=[Point(x=10**n, y=1 / n, low=0.0, high=1.0) for n in (1, 2)], marks=["area", "line"]),
        Series(name="best", points=[Point(x=50, y=0.4, text="trial 3")], colour="#d62728", style={"shape": "cross"}),
        x="parameters N",
        y="loss",
        scale="log",
        levels={"baseline last": 0.7},
    )
    assert spec["datasets"]["rows"] == [
        {"series": "law", "x": 10.0, "y": 1.0, "low": 0.0, "high": 1.0},
        {"series": "law", "x": 100.0, "y": 0.5, "low": 0.0, "high": 1.0},
        {"series": "best", "x": 50.0, "y": 0.4, "text": "trial 3"},
    ]
    (area,), (line,), (point,) = (encodings(spec, mark) for mark in ("area", "line", "point"))
    assert (area["y"]["field"], area["y2"]["field"], line["y"]["field"]) == ("low", "high", "y")
    for encoding in (area, line, point):
        assert (encoding["x"]["title"], encoding["x"]["scale"]["type"], encoding["y"]["title"]) == (
            "parameters N",
            "log",
            "loss",
        )
        assert encoding["color"]["scale"] == {"domain": ["law", "best"], "range": ["#1f77b4", "#d62728"]}
    assert point["shape"]["scale"] == {"domain": ["law", "best"], "range": ["stroke", "cross"]}
    assert [(one["field"], one.get("title")) for one in point["tooltip"]] == [
        ("text", "title"),
        ("series", None),
        ("x", "parameters N"),
        ("y", "loss"),
    ]
    svg = drawn(spec)
    assert [len(marks(svg, kind)) for kind in ("area", "line", "symbol")] == [1, 1, 1]
    assert {"parameters N", "loss", "law", "best", "baseline last"} <= set(texts(svg))
    assert any(one.get("stroke-dasharray") == "6,4" for one in svg.iter())


def test_what_is_no_number_is_not_drawn() -> None:
    """NaN, infinite and missing values, and non-positive values on a logarithmic axis, leave a gap in a line."""
    bad = [math.nan, math.inf, -math.inf, None]
    points = [Point(x=x, y=1.0) for x in (*bad, 0.0, -1.0)] + [Point(x=1.0 + n, y=y) for n, y in enumerate(bad)]
    spec = figure(Series(name="s", points=[*points, Point(x=9.0, y=2.0)]), x="x", y="y", scale="log")
    json.dumps(spec, allow_nan=False)
    assert [row["x"] for row in spec["datasets"]["rows"]] == [1.0, 2.0, 3.0, 4.0, 9.0]
    assert len(marks(drawn(spec), "symbol")) == 1
    gap = [Point(x=f"2026-01-0{day}T00:00:00Z", y=None if day == 3 else day) for day in range(1, 6)]
    times = figure(Series(name="s", points=gap, marks=["line", "point"], style=UNSEEN), x="t", y="y", scale="utc")
    (line,) = marks(drawn(times), "line")
    assert line.get("d", "").count("M") == 2
    assert [one["field"] for one in encodings(times, "point")[0]["tooltip"]] == ["series", "y"]


@pytest.mark.parametrize(
    "points",
    [
        [],
        [Point(x=None)],
        [Point(x=3.0, y=1.0)],
        [Point(x=1e-300, y=-1e308), Point(x=1e300, y=1e308)],
        [Point(x=1.0, y=1.0), Point(x=1.0 + 1e-16, y=1.0 + 1e-16)],
    ],
    ids=["none", "nowhere", "one", "huge", "equal"],
)
def test_data_of_any_size_is_drawn(points: list[Point]) -> None:
    """No point, one point, and the largest numbers."""
    for scale in ("linear", "log"):
        spec = figure(Series(name="s", points=points, marks=["line", "point"]), x="x", y="y", scale=scale)  # type: ignore[arg-type]
        assert {"x", "y"} <= set(texts(drawn(spec)))


@pytest.mark.parametrize("values", [[0.7] * 9, [1.0, 1.0 + 1e-16], [1e308, -1e308], [0.5] * 50 + [1e30], [3.0]])
def test_a_histogram_counts_every_value(values: list[float]) -> None:
    """Equal values share a bar, and an outlier changes no count."""
    svg = drawn(histogram(values, x="val_loss", y="trials", bins=9))
    labels = [one.get("aria-label", "") for one in marks(svg, "rect")]
    counts = [int(found[1]) for label in labels if (found := re.search(r"trials: (\d+)$", label))]
    assert sum(counts) == len(values) or values[0] == 1e308  # their range is no number


def test_hidden_series_wait_for_a_click() -> None:
    """A static file neither draws nor lists them."""
    points = [Point(x=1.0, y=1.0), Point(x=2.0, y=2.0)]
    spec = figure(
        *(Series(name=name, points=points, marks=["line"], hidden=name == "b") for name in "abc"), x="x", y="y"
    )
    (shown,) = [one for one in spec["params"] if one["name"] == "shown"]
    assert (shown["bind"], shown["value"]) == ("legend", [{"series": "a"}, {"series": "c"}])
    svg = drawn(spec)
    assert len(marks(svg, "line")) == 2
    assert {"a", "b", "c"} & set(texts(svg)) == {"a", "c"}


def test_names_stay_texts() -> None:
    """Special characters of Vega-Lite, JavaScript and HTML are shown unchanged."""
    spec = figure(
        Series(name=HOSTILE, points=[Point(x=n, y=n, text=HOSTILE) for n in (1.0, 2.0)], marks=["line", "point"]),
        Series(name="other", points=[Point(x=1.0, y=1.5)]),
        x=f"x {HOSTILE}",
        y=f"y {HOSTILE}",
        levels={f"level {HOSTILE}": 1.25},
    )
    svg = drawn(spec)
    assert {HOSTILE, f"x {HOSTILE}", f"y {HOSTILE}", f"level {HOSTILE}"} <= set(texts(svg))
    assert len(marks(svg, "symbol")) == 3
    page = figure_page(HOSTILE, {HOSTILE: spec})
    assert figures_of(page) == [json.loads(json.dumps(spec))]
    assert "<script>alert(1)" not in page
    assert "<!--" not in page
    assert page.count("<script") == page.count("</script>") == 3
    assert addresses_of(page) == ["#s1"]


def test_a_file_of_each_format() -> None:
    """Named after the titles, even if these differ only in characters that a file name omits."""
    spec = histogram([1.0, 2.0], x="val_loss", y="trials", bins=5)
    files = figure_files({"Loss, log2(x)": spec, "loss log2 x": spec}, ["svg", "png", "pdf"], ["loss-log2-x.pdf"])
    assert {
        name: bytes(content.encode() if isinstance(content, str) else content)[:4] for name, content in files.items()
    } == {
        "Loss-log2-x.svg": b"<svg",
        "Loss-log2-x.png": b"\x89PNG",
        "Loss-log2-x-2.pdf": b"%PDF",
        "loss-log2-x-2.svg": b"<svg",
        "loss-log2-x-2.png": b"\x89PNG",
        "loss-log2-x-3.pdf": b"%PDF",
    }


def test_the_script_of_a_page_is_whole_and_small() -> None:
    """It defines `vegaEmbed`, imports nothing, and cannot end its own tag."""
    script = javascript()
    assert "window.vegaEmbed" in script
    assert not re.search(r"</script|<!--|(^|[;}])(import|export)\b", script)
    assert len(script.encode()) < 1_000_000


def test_every_figure_of_a_report_is_drawn(study: Callable[..., StudyView]) -> None:
    """Its points are the trials, its bars count them, and each format is a separate file beside the page."""
    trials = [
        trial(n, 0.6 + n / 100, origin=Origin(kind="sampled", label=HOSTILE), flags=[COLLAPSED] * (n == 4))
        for n in range(60)
    ]
    view = with_plan(study(trials), architectures={"roles": {"width": "width", "depth": "depth"}})
    view.folder.mkdir()
    lines = [f"2026-01-01T00:00:0{second}Z,{40 + second},{second}e9,{second}" for second in range(5)]
    StudyFolder(view.folder).hardware.write_text("\n".join(["timestamp,temperature,memory_used,fan", *lines]))
    files = ReportAnalysis(ReportOptions(figures=["svg", "pdf"])).run([view]).files
    assert [name for name in files if name.endswith(".svg")] == [
        "val_loss-against-aspect.svg",
        "val_loss-against-parameters.svg",
        "Distribution-of-val_loss.svg",
        "Validation-loss-by-epoch.svg",
        "Temperature-over-time.svg",
        "Memory-over-time.svg",
        "Fan-over-time.svg",
    ]
    assert len(files) == 15
    page = files["report.html"]
    assert isinstance(page, str)
    aspect, parameters, spread, curves, *hardware = figures_of(page)
    for one, of in (
        (aspect, lambda t: t.architecture.values["width"] / t.architecture.values["depth"]),
        (parameters, lambda t: t.architecture.num_parameters),
    ):
        rows = one["datasets"]["rows"]
        assert [(row["x"], row["y"]) for row in rows if row["series"] == "trials"] == [
            (of(t), t.value) for t in trials if t.number != 4
        ]
        assert [row["text"][:8] for row in rows if row["series"].startswith("predicts a constant")] == ["trial 4:"]
        assert [(row["x"], row["y"]) for row in rows if row["series"] == "best, trial 0"] == [(of(trials[0]), 0.6)]
        assert len(marks(drawn(one), "symbol")) == 61
    assert [row["x"] for row in spread["datasets"]["rows"]] == [t.value for t in trials]
    assert len({row["path"] for row in curves["datasets"]["rows"] if row["series"] == "the next 40"}) == 40
    assert [one["layer"][0]["encoding"]["y"]["title"] for one in hardware] == ["°C", "GB", "fan"]
    assert [[row["y"] for row in one["datasets"]["rows"]] for one in hardware] == [
        [40, 41, 42, 43, 44],
        [0, 1, 2, 3, 4],
        [0, 1, 2, 3, 4],
    ]
    assert all(one["layer"][0]["encoding"]["x"]["scale"]["type"] == "utc" for one in hardware)
    assert len(page.encode()) < 1_200_000
