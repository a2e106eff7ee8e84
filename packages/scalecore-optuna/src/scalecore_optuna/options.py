"""The options of the search strategy `architectural`, beside those that every strategy has."""

import re
from typing import Annotated, Any, Literal

from annotated_types import Ge
from attrs import frozen

from scalecore.api.options import PathPattern, option

__all__ = ["ArchitecturalOptions", "OptunaOptions"]

INNER = ("frontier", "tpe", "gp", "random", "qmc")
PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


@frozen(kw_only=True)
class ArchitecturalOptions:
    """`search: {use: architectural}`: forced designs, then a space-filling start, then a model-based sampler."""

    inner: str = option(
        "frontier",
        help="What chooses after the start: `frontier`, a Gaussian process over the feasible architectures and the "
        "space; Optuna's `tpe`, `gp` (needs torch) or `random`; `qmc`, with which the start goes on; or a sampler "
        "class of an installed package as `package.module:Class`.",
    )
    inner_options: dict[str, Any] = option(
        factory=dict, help="Arguments of the sampler's class, for `tpe`, `gp` and a class of a package."
    )
    forced: Literal["extremes", "maximin", "none"] | list[Literal["extremes", "maximin"]] = option(
        "extremes",
        help="Designs that are run first, each once, at the middle of all hyper-parameters. `extremes`: the feasible "
        "minimum and maximum of each dimension, the other dimensions near their middle; `maximin`: architectures as "
        "far from each other as can be; a list of both; or `none`.",
    )
    extremes: list[str] | None = option(
        None,
        help="Dimensions whose extremes are forced. By default all that vary, except one that is always a whole "
        "multiple of an earlier one, with no more multiples than values, such as d_ff = 2 or 4 times d_model.",
    )
    maximin_trials: Annotated[int, Ge(1)] = option(8, help="How many architectures `forced: maximin` runs.")
    startup_trials: Annotated[int, Ge(0)] | None = option(
        None,
        help="Trials after the forced ones that are spread over the space before the inner sampler takes over: 20 by "
        "default; for `frontier` what the forced ones lack to 12, and 6 at least.",
    )
    coverage: Annotated[float, Ge(0)] = option(
        2.0,
        help="What each earlier visit of an architecture costs where a suggestion is moved to the nearest one, as a "
        "distance in factors of two; it falls to zero in a straight line over the study's trials. 0 is no coverage. "
        "`frontier` needs none: it divides the expected improvement by the square root of one plus the visits.",
    )
    near_repeat: dict[str, float] = option(
        factory=lambda: {"dropout": 0.08, "epochs": 20.0},
        help="A trial is varied where its architecture was tried with all of these hyper-parameters closer than this. "
        "Only those of `space` count; `{}` is no variation.",
    )
    diverged: Literal["penalise", "fail"] = option(
        "penalise",
        help="What the sampler is told of a trial that diverged: that it was worse than all others, or nothing.",
    )
    pruner: Literal["none", "median", "hyperband", "patient", "wilcoxon"] = option(
        "none",
        help="`median` ends a trial whose best value is worse than the median of the completed ones at that epoch; "
        "`patient` does so once it has not improved for `prune_patience` epochs either; `hyperband` lets one in three "
        "go on at each of its rungs; `wilcoxon` ends one that is worse than the best trial by a signed-rank test.",
    )
    prune_after: Annotated[int, Ge(1)] = option(10, help="The first epoch after which a trial may be pruned.")
    prune_patience: Annotated[int, Ge(1)] = option(10, help="Epochs without improvement that `patient` waits for.")
    prune_forced: bool = option(False, help="Whether forced trials may be pruned too.")
    prune_strata: Annotated[int, Ge(1)] = option(
        3,
        help="Trials are compared within as many classes of depth, since deep and narrow networks start slowly; 1 "
        "compares all with all, as does a model without a dimension of depth.",
    )

    @property
    def designs(self) -> tuple[str, ...]:
        """The forced designs by name."""
        if isinstance(self.forced, str):
            return () if self.forced == "none" else (self.forced,)
        return tuple(dict.fromkeys(self.forced))

    def __attrs_post_init__(self) -> None:
        if self.inner not in INNER and not PATH.fullmatch(self.inner):
            raise ValueError(
                f"inner: {self.inner!r} is neither one of {', '.join(INNER)} nor a class as package.module:Class"
            )
        if self.inner_options and self.inner in ("frontier", "random", "qmc"):
            raise ValueError(f"inner_options: {self.inner!r} has none")


_SERVER = r"(?!journal:|sqlite:)[a-z]\w*(?:\+\w+)?://(?!.*password=)(?:[^@:/]+@)?[^@]+"
_STORAGE = rf"journal|journal:.+|sqlite:///.+|{_SERVER}"
_STORAGE_RULE = (
    "expected `journal`, `journal:PATH`, `sqlite:///PATH` or a server, `postgresql://USER@HOST/NAME`; a password "
    "is given by PGPASSWORD or ~/.pgpass, since the experiment is stored with the study"
)


@frozen(kw_only=True)
class OptunaOptions:
    """`loggers: [{use: optuna, storage: ...}]`: finished trials in a storage of Optuna."""

    storage: Annotated[str, PathPattern(_STORAGE, _STORAGE_RULE)] = option(
        "journal",
        help="`journal` is the Optuna journal `optuna.journal` in the study's folder; `journal:PATH`, `sqlite:///PATH` "
        "with a path from there; or a server that SQLAlchemy knows, such as `postgresql://USER@HOST/NAME`, with the "
        "password in PGPASSWORD or ~/.pgpass.",
    )
    study_name: str | None = option(None, help="The study's name in the storage; that of the experiment by default.")
