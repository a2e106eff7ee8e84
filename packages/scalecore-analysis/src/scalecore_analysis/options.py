"""The options of the analyses, given as `KEY=VALUE` or `--key VALUE` to `scalecore analyze NAME`."""

from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le, MinLen
from attrs import frozen

from scalecore.api.options import ExistingFile, option

__all__ = [
    "CalibrationOptions",
    "CompareOptions",
    "ConfirmOptions",
    "CoverageOptions",
    "CrossBudgetOptions",
    "PowerOptions",
    "ReportOptions",
    "ResultsOptions",
    "ScalingLawOptions",
]


Figures = list[Literal["svg", "png", "pdf"]]
FIGURES = "Additional file formats of each figure, for papers."


@frozen(kw_only=True)
class ResultsOptions:
    """`scalecore analyze results`."""

    allow: list[Literal["values", "features", "target", "split", "metric"]] = option(
        factory=list, help="Aspects in which the studies of a group may differ; any other difference separates groups."
    )


@frozen(kw_only=True)
class CompareOptions:
    """`scalecore analyze compare`."""

    reference: str | None = option(
        None,
        help="What the others are compared with: the name of a study, or a value such as `a25`, `linear`, `random`, "
        "`20k` or `fixed`. Default: a fixed configuration (a study of one trial), else the fewest features, else the "
        "first study.",
    )
    by: list[
        Literal[
            "features",
            "model",
            "search",
            "context",
            "normalise",
            "data",
            "training",
            "split",
            "values",
            "budget",
            "seed",
        ]
    ] = option(
        factory=list,
        help="Aspects in which the two studies of a comparison may differ. Default: any single one; several, if no two "
        "studies differ in a single one.",
    )
    metric: str | None = option(None, help="The compared metric. Default: the objective of the reference.")
    margin: Annotated[float, Gt(0)] | None = option(
        None,
        help="Smallest relevant difference. Default: `guards.margin` of the studies, else half a percent or the "
        "standard deviation between seeds, whichever is larger.",
    )
    min_samples: Annotated[int, Ge(1)] = option(100, help="Minimum effective validation windows in common.")
    allow: list[Literal["target", "labels", "metric"]] = option(
        factory=list,
        help="Differences that are refused otherwise: other targets, other labels of one target, other objectives.",
    )
    figures: Figures = option(factory=list, help=FIGURES)
    tables: list[Literal["csv", "tex"]] = option(
        factory=list, help="File formats of the tables, for papers, in `tables/`."
    )


@frozen(kw_only=True)
class ConfirmOptions:
    """`scalecore analyze confirm`, and `confirm:` in the experiment file."""

    top: Annotated[int, Ge(1)] = option(3, help="Number of best trials to retrain.")
    seeds: Annotated[int, Ge(1), Le(1000)] = option(5, help="Fresh seeds per trial.")


@frozen(kw_only=True)
class CrossBudgetOptions:
    """`scalecore analyze cross-budget`."""

    seeds: Annotated[int, Ge(2), Le(100)] = option(3, help="Fresh seeds for each configuration at each budget.")


@frozen(kw_only=True)
class CalibrationOptions:
    """`scalecore analyze calibration`."""

    trial: Annotated[int, Ge(0)] | None = option(None, help="Number of the trial. Default: the best trial.")
    bins: Annotated[int, Ge(2), Le(100)] = option(15, help="Bins of calibration errors and reliability diagrams.")
    share: Annotated[float, Ge(0.2), Le(0.8)] = option(
        0.5,
        help="Earlier share of the validation windows, used to fit calibrators; the rest evaluates them.",
    )
    choose: Literal["auto", "none", "temperature", "platt", "isotonic"] = option(
        "auto",
        help="Calibrator stored for `scalecore evaluate`; `auto` stores the best one that is significantly better than "
        "none.",
    )
    figures: Figures = option(factory=list, help=FIGURES)


@frozen(kw_only=True)
class ReportOptions:
    """`scalecore analyze report`, and `scalecore report`."""

    rows: Annotated[int, Ge(1)] = option(50, help="Rows shown of each coverage table; the JSON has all.")
    figures: Figures | None = option(
        None,
        help="File formats of the figures, for papers. Default: `[svg, png, pdf]` for a campaign, in `figures/`; none "
        "for the pages of single studies.",
    )
    tables: list[Literal["csv", "tex"]] | None = option(
        None,
        help="File formats of the tables, for papers, in `tables/`. Default: `[csv, tex]` for a campaign, none for a "
        "single study.",
    )


@frozen(kw_only=True)
class CoverageOptions:
    """`scalecore analyze coverage`."""

    bins: Annotated[int, Ge(2), Le(100)] = option(
        10, help="Number of bins of a hyper-parameter's range, on its own scale."
    )
    edge: Annotated[float, Gt(0), Le(0.5)] = option(
        0.05, help="Width of an edge, as a share of a hyper-parameter's range."
    )


@frozen(kw_only=True)
class ScalingLawOptions:
    """`scalecore analyze scaling-law`."""

    metric: str = option(
        "val_loss", help="The metric, at the best epoch; any other than `val_loss` needs `experimental`."
    )
    experimental: bool = option(
        False, help="Accept a metric that is no proper loss, such as `auc`; the loss is then one minus the metric."
    )
    margin: Annotated[float, Gt(0)] | None = option(
        None,
        help="Smallest relevant difference. Default: `guards.margin` of the studies; a value given here makes the "
        "verdict exploratory.",
    )
    effect: Annotated[float, Gt(0)] | None = option(
        None,
        help="Fall of the loss from each budget to the next for which `scalecore plan` shows the power. Default: the "
        "margin.",
    )
    spread: Annotated[float, Gt(0)] | None = option(
        None,
        help="Standard deviation of the loss over seeds that `scalecore plan` assumes until replicates have measured "
        "it. Default: the margin.",
    )
    min_seeds: Annotated[int, Ge(2)] = option(3, help="Minimum runs of the selected configuration of each budget.")
    min_samples: Annotated[int, Ge(1)] = option(100, help="Minimum effective validation windows.")
    min_positives: Annotated[int, Ge(1)] = option(20, help="Minimum effective windows of the rarer class.")
    waive: list[Literal["tolerance", "edges", "data", "samples", "baseline", "dry runs", "collapse"]] = option(
        factory=list, help="Preconditions to waive, by name; the verdict is then exploratory."
    )
    points: ExistingFile | None = option(
        None,
        help="A CSV file instead of studies, one row per run: `parameters` and `loss`, and if known `windows` or "
        "`tokens`, `weight`, `configuration`, `seed`, `budget`. Each row is a point with its own N and D.",
    )
    seed: Annotated[int, Ge(0)] = option(0, help="Seed of the resampling.")
    figures: Figures = option(factory=list, help=FIGURES)


@frozen(kw_only=True)
class PowerOptions:
    """`scalecore analyze power`."""

    spread: Annotated[float, Gt(0)] | None = option(
        None,
        help="Standard deviation of the loss over seeds. Default: estimated from the studies; without studies, the "
        "unit of all results.",
    )
    margin: Annotated[float, Gt(0)] | None = option(
        None, help="Smallest relevant difference. Default: `guards.margin` of the studies, else one spread."
    )
    budgets: Annotated[int, Ge(3), Le(12)] = option(3, help="Number of budgets, if no studies are given.")
    seeds: Annotated[list[Annotated[int, Ge(2), Le(200)]], MinLen(1)] = option(
        factory=lambda: [3, 5, 10, 20], help="Numbers of seeds per budget to compare."
    )
    effects: Annotated[list[Annotated[float, Gt(0)]], MinLen(1)] = option(
        factory=lambda: [0.25, 0.5, 1.0, 2.0], help="Effect sizes: steps of the loss between budgets, in spreads."
    )
    metric: str = option("val_loss", help="The metric whose spread is estimated from the studies.")
