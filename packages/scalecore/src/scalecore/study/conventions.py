"""What a study keeps from its beginning, and what is asked of new ones: a scale for the target of a forecast, windows
that keep their level, a library for float32 products.
"""

from __future__ import annotations

from pathlib import Path

from scalecore.api.plan_report import PlanReport
from scalecore.api.protocols import ModelFamily, RemovesLevel
from scalecore.config.load import LoadedExperiment, Resolved
from scalecore.study.components import of_plugin
from scalecore.study.events import StudyBegun
from scalecore.study.journal import read_journal
from scalecore.study.layout import StudyFolder
from scalecore.training.compile_choice import CompileRule
from scalecore.training.product_library import ProductLibrary, choose_library, read_cpuinfo


def began_with_0_1(folder: Path) -> bool:
    """Whether version 0.1 began the study in `folder`, as its first plan says.

    Its forecasts train in the target's unit (G57), and its best epochs may be those of a rate over one window (G19).
    It keeps both, since its trials could not be compared otherwise.
    """
    first = _first_plan(folder)
    return first is not None and first.data.of_version_0_1


def products_of(folder: Path) -> ProductLibrary | None:
    """The library of float32 products of the study in `folder`, as its first plan says; chosen for this processor where
    no study began. None in a study from before there was a choice.
    """
    first = _first_plan(folder)
    if first is None:
        return choose_library(read_cpuinfo())
    return None if first.products is None else ProductLibrary(name=first.products.name, why=first.products.why)


def compile_rule_of(folder: Path) -> CompileRule:
    """By which rule `training.compile: auto` decides in the study in `folder`: that of its first plan.

    Compiling changes the last digits of a result, so all trials of a study are judged alike.
    """
    first = _first_plan(folder)
    return "savings" if first is None or first.compile_rule == "savings" else "flops"


def _first_plan(folder: Path) -> PlanReport | None:
    journal = StudyFolder(folder).journal
    events = read_journal(journal) if journal.exists() else ()
    return next((event.plan for event in events if isinstance(event, StudyBegun)), None)


def refuse_lost_level(loaded: LoadedExperiment, resolved: Resolved, family: ModelFamily, *, task: str | None) -> None:
    """Raise `ExperimentError` where a forecast cannot follow the level of its window."""
    if task != "forecast" or not isinstance(family, RemovesLevel):
        return
    with of_plugin("model", resolved.model, "cannot tell what removes the level of a window"):
        option = family.level_removed_by()
    if option is not None:
        message = (
            f"removes the level of each window, and model {resolved.model.record.name!r} does not give it back to its "
            f"outputs: the same window at another level would get the same forecast. Leave {option} out, or predict "
            "classes [G57]"
        )
        loaded.fail([loaded.problem(("model", option), message)])
