"""The options of the analyses, given as `KEY=VALUE` or `--key VALUE` to `scalecore analyze NAME`."""

from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le, MinLen
from attrs import frozen

from scalecore.api.options import ExistingFile, option

__all__ = [
    "CalibrationOptions",
    "CoverageOptions",
    "PowerOptions",
    "ReportOptions",
    "ResultsOptions",
    "ScalingLawOptions",
]


Figures = list[Literal["svg", "png", "pdf"]]
FIGURES = "Formats in which each figure is stored too, for papers."


@frozen(kw_only=True)
class ResultsOptions:
    """`scalecore analyze results`."""

    allow: list[Literal["values", "features", "target", "split", "metric"]] = option(
        factory=list, help="In what the studies may differ all the same; without it such a comparison is refused. [G07]"
    )


@frozen(kw_only=True)
class CalibrationOptions:
    """`scalecore analyze calibration`."""

    trial: Annotated[int, Ge(0)] | None = option(None, help="Number of the trial; the best one by default.")
    bins: Annotated[int, Ge(2), Le(100)] = option(15, help="Bins of calibration errors and reliability diagrams.")
    share: Annotated[float, Ge(0.2), Le(0.8)] = option(
        0.5,
        help="The earlier share of the validation windows, on which calibrators are fitted to be judged on the rest.",
    )
    choose: Literal["auto", "none", "temperature", "platt", "isotonic"] = option(
        "auto",
        help="Which calibrator is kept for `scalecore evaluate`; `auto` keeps the best one that helps beyond doubt.",
    )
    figures: Figures = option(factory=list, help=FIGURES)


@frozen(kw_only=True)
class ReportOptions:
    """`scalecore analyze report`, and `scalecore report`."""

    rows: Annotated[int, Ge(1)] = option(50, help="Rows of each table of coverage that are shown; the JSON has all.")
    figures: Figures = option(factory=list, help=FIGURES)


@frozen(kw_only=True)
class CoverageOptions:
    """`scalecore analyze coverage`."""

    bins: Annotated[int, Ge(2), Le(100)] = option(
        10, help="Into how many parts the range of a hyper-parameter is cut, on its own scale."
    )
    edge: Annotated[float, Gt(0), Le(0.5)] = option(
        0.05, help="The best trial lies on an edge where it is within this share of a hyper-parameter's range."
    )


@frozen(kw_only=True)
class ScalingLawOptions:
    """`scalecore analyze scaling-law`."""

    metric: str = option(
        "val_loss", help="The metric that is judged, at the best epoch; another than `val_loss` needs `experimental`."
    )
    experimental: bool = option(
        False, help="Judge a metric that is no proper loss, such as `auc`; one minus it takes the place of a loss."
    )
    margin: Annotated[float, Gt(0)] | None = option(
        None,
        help="Smallest difference that matters. By default `guards.margin` of the studies; one that is given here "
        "makes the verdict exploratory.",
    )
    min_seeds: Annotated[int, Ge(2)] = option(3, help="Fewest runs of the chosen configuration of each budget. [G14]")
    min_samples: Annotated[int, Ge(1)] = option(100, help="Fewest effective validation windows. [G02]")
    min_positives: Annotated[int, Ge(1)] = option(20, help="Fewest of them of the rarer class. [G02]")
    waive: list[Literal["tolerance", "edges", "data", "samples", "baseline", "dry runs", "collapse"]] = option(
        factory=list, help="Preconditions that are set aside by name; the verdict is exploratory then."
    )
    points: ExistingFile | None = option(
        None,
        help="A CSV file in place of studies, one row for each run: `parameters` and `loss`, and where known `windows` "
        "or `tokens`, `weight`, `configuration`, `seed`, `budget`. Each row is a point with its own N and D.",
    )
    seed: Annotated[int, Ge(0)] = option(0, help="Decides the resamples.")
    figures: Figures = option(factory=list, help=FIGURES)


@frozen(kw_only=True)
class PowerOptions:
    """`scalecore analyze power`."""

    spread: Annotated[float, Gt(0)] | None = option(
        None,
        help="Standard deviation of the loss over seeds. By default that of the studies; without any, all is in units "
        "of it.",
    )
    margin: Annotated[float, Gt(0)] | None = option(
        None, help="Smallest difference that matters. By default `guards.margin` of the studies, else one spread."
    )
    budgets: Annotated[int, Ge(3), Le(12)] = option(3, help="How many budgets, where no studies are given.")
    seeds: Annotated[list[Annotated[int, Ge(2), Le(200)]], MinLen(1)] = option(
        factory=lambda: [3, 5, 10, 20], help="Numbers of seeds of each budget to look at."
    )
    effects: Annotated[list[Annotated[float, Gt(0)]], MinLen(1)] = option(
        factory=lambda: [0.25, 0.5, 1.0, 2.0], help="Steps of the loss from budget to budget, in spreads of the seeds."
    )
    metric: str = option("val_loss", help="The metric whose spread over seeds is taken from the studies.")
