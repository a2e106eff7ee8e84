"""What `scalecore plan` shows: the plan, and beside it what the study in the folder, if there is one, says of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from attrs import asdict

from scalecore.api.files import plain
from scalecore.api.space import middle
from scalecore.study.continuation import compare_study, misfits, restored_today
from scalecore.study.explain import explain_search, strategy_plain
from scalecore.study.forecast import forecast
from scalecore.study.journal import read_journal
from scalecore.study.layout import StudyFolder
from scalecore.study.memory_figures import memory_figures
from scalecore.study.plan import Plan
from scalecore.study.state import StudyState, replay

__all__ = ["preview", "state_of"]


def preview(plan: Plan, state: StudyState) -> dict[str, Any]:
    """The plan's JSON form with `search` (what was tried of it) and `forecast` (time of each shape)."""
    content = plan.plain()
    strategy = plan.strategy()
    strategy.restore(restored_today(state, plan, lambda _: {}))
    search = explain_search(content, state)
    if (told := strategy_plain(strategy, state)) is not None:
        search |= {"phase": told["phase"], "strategy": told}
    space = plan.resolved.experiment.search.space
    epochs = int(plan.fixed["epochs"] if "epochs" in plan.fixed else middle(space["epochs"]))
    windows = int(plan.data.parts["train"]["windows"])
    return {
        **content,
        "figures": memory_figures(content["memory"], state.smoke),
        "changes": _changes(plan, state),
        "search": search,
        "forecast": forecast(plan.grid.architectures, state.records, windows=windows, epochs=epochs),
    }


def _changes(plan: Plan, state: StudyState) -> dict[str, Any]:
    """What differs from the study in the folder: followed, or refused by a run; and which of its trials do not fit."""
    found = compare_study(state, plan.resolved, folder=Path(plan.experiment["output"]))
    result: dict[str, Any] = plain(
        {
            "allowed": [asdict(change) for change in found.allowed],
            "refused": [asdict(change) for change in found.refused],
            "trials": len(state.trials),
            "left_out": misfits(state, plan),
        }
    )
    return result


def state_of(folder: StudyFolder) -> StudyState:
    """The study that the folder holds; an empty one where it holds none."""
    return replay(read_journal(folder.journal)) if folder.journal.exists() else StudyState()
