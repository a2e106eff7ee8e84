"""What a study keeps from its beginning, and what is asked of new ones: a scale for the target of a forecast, windows
that keep their level, a library for float32 products.
"""

from __future__ import annotations

from pathlib import Path

from attrs import frozen

from scalecore.api.model import ModelFamily, SupportsLevelCheck
from scalecore.api.plan_report import ProductsReport
from scalecore.config.instantiate import of_plugin
from scalecore.config.load import LoadedExperiment
from scalecore.config.resolved import Resolved
from scalecore.store.events import StudyBegun
from scalecore.store.journal import read_journal
from scalecore.store.layout import StudyFolder
from scalecore.training.compile_choice import CompileRule
from scalecore.training.product_library import choose_library, read_cpuinfo


@frozen(kw_only=True)
class Conventions:
    """What the first plan of a study says, and all its trials keep: they could not be compared otherwise."""

    old: bool = False
    """Whether version 0.1 began it: its forecasts train in the target's unit (G57), and its best epochs may be those of
    a rate over one window (G19)."""
    products: ProductsReport | None
    """The library of float32 products; None in a study from before there was a choice."""
    compile_rule: CompileRule = "savings"
    """By which `training.compile: auto` decides: compiling changes the last digits of a result."""


def conventions_of(folder: Path) -> Conventions:
    """Those of the study in `folder`; of this version and this processor where no study began."""
    journal = StudyFolder(folder).journal
    events = read_journal(journal) if journal.exists() else ()
    first = next((event.plan for event in events if isinstance(event, StudyBegun)), None)
    if first is None:
        return Conventions(products=choose_library(read_cpuinfo()))
    rule: CompileRule = "savings" if first.compile_rule == "savings" else "flops"
    return Conventions(old=first.data.of_version_0_1, products=first.products, compile_rule=rule)


def refuse_lost_level(loaded: LoadedExperiment, resolved: Resolved, family: ModelFamily, *, task: str | None) -> None:
    """Raise `ExperimentError` where a forecast cannot follow the level of its window."""
    if task != "forecast" or not isinstance(family, SupportsLevelCheck):
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
