"""What lives while a study is planned and run: objects of plugins, processes, sensors."""

from __future__ import annotations

from attrs import frozen

from scalecore.api.memory_forecast import MemoryForecast
from scalecore.api.model import SizedFamily
from scalecore.api.strategy import SearchContext, SearchStrategy
from scalecore.config.instantiate import create
from scalecore.monitoring.monitors import Monitors
from scalecore.planning.plan import Plan


@frozen(kw_only=True)
class Runtime:
    """Made with the plan by `scalecore.planning.build_plan`; the session of a run owns it."""

    family: SizedFamily
    """The model family; what it does not say of a shape is counted when it is asked for."""
    forecast: MemoryForecast
    monitors: Monitors


def new_strategy(plan: Plan) -> SearchStrategy:
    """A fresh strategy of the study."""
    experiment = plan.resolved.experiment
    context = SearchContext(
        architectures=plan.grid.architectures,
        dimensions=plan.grid.dimensions,
        space=experiment.search.space,
        direction=experiment.objective.direction,
        trials=experiment.search.trials,
        seed=experiment.seed,
        roles=plan.grid.roles,
    )
    strategy: SearchStrategy = create("search strategy", plan.resolved.search, context)
    return strategy
