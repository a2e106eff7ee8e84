"""The content of `scalecore plan`: the plan, compared with the study in its folder if there is one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import asdict, frozen

from scalecore.api.files import plain
from scalecore.api.plan_report import PlanReport
from scalecore.api.space import middle
from scalecore.api.trials import TrialRecord
from scalecore.planning.continuation import compare_study, misfits, restored_today
from scalecore.planning.explain import explain_search, strategy_plain
from scalecore.planning.memory_figures import MemoryFigure, memory_figures
from scalecore.planning.plan import Plan
from scalecore.planning.runtime import new_strategy
from scalecore.planning.time_estimates import Forecast, forecast
from scalecore.store.event_parts import Change
from scalecore.store.layout import StudyFolder
from scalecore.store.state import StudyState, read_state


@frozen(kw_only=True)
class PlannedChanges:
    """Differences from the study in the folder: changes that a run accepts or refuses, and trials that do not fit."""

    allowed: Sequence[Change]
    refused: Sequence[Change]
    trials: int
    left_out: Mapping[int, str]


@frozen(kw_only=True)
class PlanPreview:
    """The plan with data of the study in its folder: current memory figures, changes, search so far, time estimates."""

    plan: PlanReport
    figures: Mapping[str, MemoryFigure]
    changes: PlannedChanges
    search: Mapping[str, Any]
    forecast: Forecast
    description: str | None = None

    def plain(self) -> dict[str, Any]:
        """Return the output of `scalecore plan --json`."""
        result: dict[str, Any] = plain(
            {
                **self.plan.plain(),
                "figures": {label: one.plain() for label, one in self.figures.items()},
                "changes": asdict(self.changes),
                "search": self.search,
                "forecast": asdict(self.forecast),
                "description": self.description,
            }
        )
        return result


def preview(plan: Plan, state: StudyState) -> PlanPreview:
    """Combine the plan with the state of the study in its folder."""
    content = plan.report()
    strategy = new_strategy(plan)
    strategy.restore(restored_today(state, plan, lambda _: {}))
    search = explain_search(content, state)
    if (explained := strategy_plain(strategy, state)) is not None:
        search |= {"phase": explained["phase"], "strategy": explained}
    windows = plan.data.parts["train"].windows
    return PlanPreview(
        plan=content,
        figures=memory_figures(content.memory, state.smoke),
        changes=_changes(plan, state),
        search=search,
        description=plan.experiment.get("description"),
        forecast=forecast(plan.grid.architectures, state.records, windows=windows, epochs=_epochs(plan, state.records)),
    )


def _epochs(plan: Plan, records: Sequence[TrialRecord]) -> int:
    """Return the epochs of a trial; without a hyper-parameter `epochs`, those of the longest trial so far."""
    space = plan.resolved.experiment.search.space
    if "epochs" in plan.fixed or "epochs" in space:
        return int(plan.fixed["epochs"] if "epochs" in plan.fixed else middle(space["epochs"]))
    return max((len(one.learning_curve) for one in records), default=0)


def _changes(plan: Plan, state: StudyState) -> PlannedChanges:
    found = compare_study(state, plan.resolved, folder=Path(plan.experiment["output"]))
    return PlannedChanges(
        allowed=found.allowed,
        refused=found.refused,
        trials=state.next_number(retrained=False),
        left_out=misfits(state, plan),
    )


def state_of(folder: StudyFolder) -> StudyState:
    """Return the state of the study in the folder; an empty state if there is none."""
    return read_state(folder.journal)
