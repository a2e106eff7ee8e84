"""What analyses and loggers read of a study besides its records, and a record in its kept form."""

from __future__ import annotations

from pathlib import Path

from scalecore.api.space import Distribution
from scalecore.api.trials import StudyView
from scalecore.builtin.hardware_summary import NO_MONITOR, hardware_rows, hardware_table
from scalecore.config.forms import register_forms
from scalecore.config.structure import make_converter
from scalecore.study.layout import StudyFolder
from scalecore.study.record import record_plain

__all__ = ["NO_MONITOR", "StudyFolder", "distributions", "hardware_rows", "hardware_table", "record_plain"]


def distributions(study: StudyView) -> dict[str, Distribution]:
    """The distribution of each hyper-parameter that the study varies, by name."""
    converter = make_converter(Path())
    register_forms(converter)
    read = converter.get_structure_hook(Distribution)
    return {name: read(plain, Distribution) for name, plain in study.experiment["search"].get("space", {}).items()}
