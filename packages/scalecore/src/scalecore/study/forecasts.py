"""What is asked of a study that forecasts: targets on the scale of training, windows that keep their level (G57)."""

from __future__ import annotations

from pathlib import Path

from scalecore.config.load import LoadedExperiment, Resolved
from scalecore.protocols import ModelFamily, RemovesLevel
from scalecore.study.components import of_plugin
from scalecore.study.journal import read_journal
from scalecore.study.layout import StudyFolder

__all__ = ["keeps_raw_target", "refuse_lost_level"]


def keeps_raw_target(folder: Path) -> bool:
    """Whether the study in `folder` trains its forecast in the target's unit, as version 0.1 did.

    Its first event says under which convention it began, and it keeps that: else its trials could not be compared.
    """
    journal = StudyFolder(folder).journal
    first = next(read_journal(journal), {}) if journal.exists() else {}
    data = first.get("plan", {}).get("data", {})
    return data.get("task") == "forecast" and data.get("target_scale") is None


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
