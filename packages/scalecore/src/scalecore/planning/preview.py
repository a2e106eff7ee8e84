"""What `scalecore plan` shows: the plan, and beside it what the study in the folder, if there is one, says of it."""

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
    """What differs from the study in the folder: followed, or refused by a run; and which of its trials do not fit."""

    allowed: Sequence[Change]
    refused: Sequence[Change]
    trials: int
    left_out: Mapping[int, str]


@frozen(kw_only=True)
class PlanPreview:
    """The plan with what the study in the folder says of it: the memory that counts now, changes, what was tried, the
    time of each shape."""

    plan: PlanReport
    figures: Mapping[str, MemoryFigure]
    changes: PlannedChanges
    search: Mapping[str, Any]
    forecast: Forecast

    def plain(self) -> dict[str, Any]:
        """What `scalecore plan --json` prints."""
        result: dict[str, Any] = plain(
            {
                **self.plan.plain(),
                "figures": {label: one.plain() for label, one in self.figures.items()},
                "changes": asdict(self.changes),
                "search": self.search,
                "forecast": asdict(self.forecast),
            }
        )
        return result


def preview(plan: Plan, state: StudyState) -> PlanPreview:
    """The plan beside the study in its folder."""
    content = plan.report()
    strategy = new_strategy(plan)
    strategy.restore(restored_today(state, plan, lambda _: {}))
    search = explain_search(content, state)
    if (told := strategy_plain(strategy, state)) is not None:
        search |= {"phase": told["phase"], "strategy": told}
    windows = plan.data.parts["train"].windows
    return PlanPreview(
        plan=content,
        figures=memory_figures(content.memory, state.smoke),
        changes=_changes(plan, state),
        search=search,
        forecast=forecast(plan.grid.architectures, state.records, windows=windows, epochs=_epochs(plan, state.records)),
    )


def _epochs(plan: Plan, records: Sequence[TrialRecord]) -> int:
    """Those of a trial; where no hyper-parameter says it, as many as the longest trial so far had."""
    space = plan.resolved.experiment.search.space
    if "epochs" in plan.fixed or "epochs" in space:
        return int(plan.fixed["epochs"] if "epochs" in plan.fixed else middle(space["epochs"]))
    return max((len(one.learning_curve) for one in records), default=0)


def _changes(plan: Plan, state: StudyState) -> PlannedChanges:
    found = compare_study(state, plan.resolved, folder=Path(plan.experiment["output"]))
    return PlannedChanges(
        allowed=found.allowed, refused=found.refused, trials=len(state.trials), left_out=misfits(state, plan)
    )


def state_of(folder: StudyFolder) -> StudyState:
    """The study that the folder holds; an empty one where it holds none."""
    return read_state(folder.journal)
