"""What is asked of a study since version 0.1: a scale for the target of a forecast, windows that keep their level."""

from __future__ import annotations

from pathlib import Path

from scalecore.config.load import LoadedExperiment, Resolved
from scalecore.protocols import ModelFamily, RemovesLevel
from scalecore.study.components import of_plugin
from scalecore.study.journal import read_journal
from scalecore.study.layout import StudyFolder

__all__ = ["began_with_0_1", "refuse_lost_level"]


def began_with_0_1(folder: Path) -> bool:
    """Whether version 0.1 began the study in `folder`, as its first plan says.

    Its forecasts train in the target's unit (G57), and its best epochs may be those of a rate over one window (G19).
    It keeps both, since its trials could not be compared otherwise.
    """
    journal = StudyFolder(folder).journal
    events = read_journal(journal) if journal.exists() else ()
    first = next((event["plan"] for event in events if "plan" in event), None)
    return first is not None and "target_scale" not in first["data"]


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
