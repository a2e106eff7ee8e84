"""Conventions that a study keeps from its first run, and the level check of new forecasts."""

from __future__ import annotations

from pathlib import Path

from scalecore.api.model import ModelFamily, SupportsLevelCheck
from scalecore.api.plan_report import PlanReport
from scalecore.config.instantiate import of_plugin
from scalecore.config.load import LoadedExperiment
from scalecore.config.resolved import Resolved
from scalecore.store.events import StudyBegun
from scalecore.store.journal import read_journal
from scalecore.store.layout import StudyFolder


def begun_plan(folder: Path) -> PlanReport | None:
    """Return the first plan of the study in `folder`, which fixes the conventions of all its trials; None if none."""
    journal = StudyFolder(folder).journal
    events = read_journal(journal) if journal.exists() else ()
    return next((event.plan for event in events if isinstance(event, StudyBegun)), None)


def refuse_lost_level(loaded: LoadedExperiment, resolved: Resolved, family: ModelFamily, *, task: str | None) -> None:
    """Raise `ExperimentError` if a forecast cannot depend on the level of its window."""
    if task != "forecast" or not isinstance(family, SupportsLevelCheck):
        return
    with of_plugin("model", resolved.model, "cannot report which option removes the level of a window"):
        option = family.level_removed_by()
    if option is not None:
        message = (
            f"removes the level of each window, and model {resolved.model.record.name!r} does not restore it in its "
            f"outputs: the same window at another level would get the same forecast. Omit {option}, or predict "
            "classes [G57]"
        )
        loaded.fail([loaded.problem(("model", option), message)])
