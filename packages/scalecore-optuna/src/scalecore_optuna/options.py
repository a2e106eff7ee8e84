"""The options of the search strategy `architectural` and of the logger `optuna`."""

import re
from typing import Annotated, Any, Literal

from annotated_types import Ge
from attrs import frozen

from scalecore.api.options import PathPattern, option

__all__ = ["ArchitecturalOptions", "ForcedConfiguration", "OptunaOptions"]

INNER = ("frontier", "tpe", "gp", "random", "qmc")
PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


@frozen(kw_only=True)
class ForcedConfiguration:
    """An item of `forced:` a configuration of your own, which runs before the search."""

    architecture: dict[str, int | float] = option(
        help="Values of the dimensions, or of names derived from them such as `d_ff_ratio` and `head_dim`. Exactly one "
        "shape of the model must have them."
    )
    hyperparameters: dict[str, Any] = option(
        factory=dict, help="Values within `space`. The others of `space` are at their middles."
    )


@frozen(kw_only=True)
class ArchitecturalOptions:
    """`search: {use: architectural}`: forced designs, then a space-filling start, then a model-based sampler."""

    inner: str = option(
        "frontier",
        help="Sampler after the startup phase: `frontier`, a Gaussian process over the feasible architectures and the "
        "space; Optuna's `tpe`, `gp` (needs torch) or `random`; `qmc`, which continues the startup sequence; or a "
        "sampler class of an installed package as `package.module:Class`.",
    )
    inner_options: dict[str, Any] = option(
        factory=dict, help="Arguments of the sampler class, for `tpe`, `gp` and `package.module:Class`."
    )
    forced: (
        Literal["extremes", "maximin", "hyperparameters", "none"]
        | list[Literal["extremes", "maximin", "hyperparameters"] | ForcedConfiguration]
    ) = option(
        "extremes",
        help="Designs that run first, each once, at the middle of all hyper-parameters. `extremes`: the feasible "
        "minimum and maximum of each dimension, with the others near their middle. `maximin`: architectures far from "
        "each other. `hyperparameters`: each hyper-parameter of `space` at both ends, at the architecture nearest to "
        "the middle. A list of them and of configurations, `{architecture: {...}, hyperparameters: {...}}`; or `none`.",
    )
    extremes: list[str] | None = option(
        None,
        help="Dimensions to force to their extremes. By default all that vary, except integer multiples of an earlier "
        "dimension with no more multiples than values, such as d_ff = 2 or 4 times d_model.",
    )
    maximin_trials: Annotated[int, Ge(1)] = option(8, help="Number of architectures in `forced: maximin`.")
    startup_trials: Annotated[int, Ge(0)] | None = option(
        None,
        help="Space-filling trials between the forced designs and the inner sampler. 20 by default; with `frontier` "
        "12 minus the number of forced designs, at least 6.",
    )
    coverage: Annotated[float, Ge(0)] = option(
        2.0,
        help="Penalty for each earlier visit of an architecture when a suggestion moves to the nearest one, as a "
        "distance in factors of two. It falls linearly to zero over the study's trials; 0 disables it. `frontier` "
        "ignores it: it divides the expected improvement by the square root of one plus the visits.",
    )
    near_repeat: dict[str, float] = option(
        factory=lambda: {"dropout": 0.08, "epochs": 20.0},
        help="Vary a suggestion if its architecture was tried with all of these hyper-parameters closer than this. "
        "Only those in `space` count; `{}` disables it.",
    )
    diverged: Literal["penalise", "fail"] = option(
        "penalise",
        help="Whether a diverged trial counts as worse than all others for the sampler (`penalise`) or is ignored.",
    )
    pruner: Literal["none", "median", "hyperband", "patient", "wilcoxon"] = option(
        "none",
        help="`median` prunes a trial if its best value is worse than the median of the completed trials at that "
        "epoch; `patient` also requires `prune_patience` epochs without improvement; `hyperband` continues one in "
        "three trials at each rung; `wilcoxon` prunes a trial that is worse than the best one by a signed-rank test.",
    )
    prune_after: Annotated[int, Ge(1)] = option(10, help="First epoch after which a trial may be pruned.")
    prune_patience: Annotated[int, Ge(1)] = option(10, help="Epochs without improvement before `patient` prunes.")
    prune_forced: bool = option(False, help="Whether forced trials may be pruned too.")
    prune_strata: Annotated[int, Ge(1)] = option(
        3,
        help="Number of depth classes. Trials are compared within a class, because deep and narrow networks start "
        "slowly. 1, or a model without a depth dimension, compares all trials.",
    )

    @property
    def designs(self) -> tuple[str, ...]:
        """The forced designs by name."""
        if isinstance(self.forced, str):
            return () if self.forced == "none" else (self.forced,)
        return tuple(dict.fromkeys("configurations" if not isinstance(one, str) else one for one in self.forced))

    @property
    def configurations(self) -> tuple[tuple[int, ForcedConfiguration], ...]:
        """The user's configurations, with their positions in the list."""
        ones = () if isinstance(self.forced, str) else self.forced
        return tuple((index, one) for index, one in enumerate(ones) if isinstance(one, ForcedConfiguration))

    def __attrs_post_init__(self) -> None:
        if self.inner not in INNER and not PATH.fullmatch(self.inner):
            raise ValueError(
                f"inner: {self.inner!r} is neither one of {', '.join(INNER)} nor a class as package.module:Class"
            )
        if self.inner_options and self.inner in ("frontier", "random", "qmc"):
            raise ValueError(f"inner_options: {self.inner!r} has no options")


_SERVER = r"(?!journal:|sqlite:)[a-z]\w*(?:\+\w+)?://(?!.*password=)(?:[^@:/]+@)?[^@]+"
_STORAGE = rf"journal|journal:.+|sqlite:///.+|{_SERVER}"
_STORAGE_RULE = (
    "expected `journal`, `journal:PATH`, `sqlite:///PATH` or a server, `postgresql://USER@HOST/NAME`; put the "
    "password into PGPASSWORD or ~/.pgpass, because the experiment is stored with the study"
)


@frozen(kw_only=True)
class OptunaOptions:
    """`loggers: [{use: optuna, storage: ...}]`: finished trials in an Optuna storage."""

    storage: Annotated[str, PathPattern(_STORAGE, _STORAGE_RULE)] = option(
        "journal",
        help="`journal`: the Optuna journal `optuna.journal` in the study's folder; `journal:PATH` or "
        "`sqlite:///PATH`, relative to that folder; or a server supported by SQLAlchemy, such as "
        "`postgresql://USER@HOST/NAME`, with the password in PGPASSWORD or ~/.pgpass.",
    )
    study_name: str | None = option(None, help="The study's name in the storage; the experiment's name by default.")
