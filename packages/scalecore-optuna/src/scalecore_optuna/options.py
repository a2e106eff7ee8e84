"""The options of the search strategy `architectural`, beside those that every strategy has."""

from typing import Annotated, Literal

from annotated_types import Ge
from attrs import frozen

from scalecore.options import option

__all__ = ["ArchitecturalOptions"]


@frozen(kw_only=True)
class ArchitecturalOptions:
    """`search: {use: architectural}`: forced designs, then a space-filling start, then a model-based sampler."""

    inner: Literal["tpe", "random", "qmc"] = option(
        "tpe",
        help="What chooses after the start: Optuna's `tpe` or `random`, or `qmc`, with which the start goes on.",
    )
    forced: Literal["extremes", "none"] = option(
        "extremes",
        help="Designs that are run first, each once: the feasible minimum and maximum of each dimension, the other "
        "dimensions near their middle.",
    )
    extremes: list[str] | None = option(
        None,
        help="Dimensions whose extremes are forced. By default all that vary, except one that is always a whole "
        "multiple of an earlier one, with no more multiples than values, such as d_ff = 2 or 4 times d_model.",
    )
    startup_trials: Annotated[int, Ge(0)] = option(
        20, help="Trials after the forced ones that are spread over the space before the inner sampler takes over."
    )
    coverage: Annotated[float, Ge(0)] = option(
        2.0,
        help="What each earlier visit of an architecture costs where a suggestion is moved to the nearest one, as a "
        "distance in factors of two; it falls to zero in a straight line over the study's trials. 0 is no coverage.",
    )
    near_repeat: dict[str, float] = option(
        factory=lambda: {"dropout": 0.08, "epochs": 20.0},
        help="A trial is varied where its architecture was tried with all of these hyper-parameters closer than this. "
        "Only those of `space` count; `{}` is no variation.",
    )
    pruner: Literal["none", "median"] = option(
        "none",
        help="`median` ends a trial whose best value is worse than the median of the completed ones at that epoch.",
    )
    prune_after: Annotated[int, Ge(1)] = option(
        10, help="The first epoch after which a trial may be pruned. Forced trials never are."
    )
