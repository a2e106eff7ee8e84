"""The live objects of a study: plugin objects, processes, sensors."""

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
    """Created with the plan by `scalecore.planning.build_plan`; owned by the session of a run."""

    family: SizedFamily
    """The model family; sizes that it does not declare are counted on request."""
    forecast: MemoryForecast
    monitors: Monitors


def new_strategy(plan: Plan) -> SearchStrategy:
    """Create the study's search strategy."""
    experiment = plan.resolved.experiment
    context = SearchContext(
        architectures=plan.grid.architectures,
        dimensions=plan.grid.dimensions,
        space=experiment.search.space,
        direction=experiment.objective.direction,
        trials=experiment.search.trials,
        seed=experiment.seed,
        roles=plan.grid.roles,
        shapes=plan.grid.shapes,
        infeasible=plan.grid.infeasible,
    )
    strategy: SearchStrategy = create("search strategy", plan.resolved.search, context)
    return strategy
