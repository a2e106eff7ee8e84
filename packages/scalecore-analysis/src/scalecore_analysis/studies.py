"""What several analyses need of studies: a name for each, and the search space from the journal's plain form."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from scalecore.config.forms import register_forms
from scalecore.config.structure import make_converter
from scalecore.space import Distribution
from scalecore.trials import StudyView

__all__ = ["distributions", "labelled"]


def labelled(studies: Sequence[StudyView]) -> dict[str, StudyView]:
    """The studies by name, in their order; where several have one name, their folders are named too."""
    names = Counter(study.name for study in studies)
    return {study.name if names[study.name] == 1 else f"{study.name} ({study.folder})": study for study in studies}


def distributions(study: StudyView) -> dict[str, Distribution]:
    """The distribution of each hyper-parameter that the study varies."""
    converter = make_converter(Path())
    register_forms(converter)
    read = converter.get_structure_hook(Distribution)
    return {name: read(plain, Distribution) for name, plain in study.experiment["search"].get("space", {}).items()}
