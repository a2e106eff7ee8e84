"""The protocol of analyses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from attrs import field, frozen

from scalecore.api.space import Architecture

if TYPE_CHECKING:
    from scalecore.api.trials import StudyEnd, StudyView

__all__ = [
    "Analysis",
    "AnalysisPlan",
    "AnalysisResult",
    "PlannedTraining",
    "SupportsPlan",
    "SupportsTraining",
    "TrainingContext",
]


@frozen(kw_only=True)
class AnalysisResult:
    """The result of an analysis: sentences, tables (rows of plain values) and data for programs.

    Every number is computed from trial records, which the result names (guard G13); missing values are None.
    The result page starts with `summary` and ends with `notes`; `data` is written as JSON. `files` contains further
    files by name, as text or bytes, for instance a page with figures; they are written next to the result, or in a
    folder there, such as `figures/loss.svg`.
    """

    title: str
    tables: Mapping[str, Sequence[Mapping[str, Any]]]
    data: Mapping[str, Any]
    summary: Sequence[str] = ()
    notes: Sequence[str] = ()
    files: Mapping[str, str | bytes] = field(factory=dict)


@frozen(kw_only=True)
class TrainingContext:
    """Input of an analysis that trains: the arguments with which attempts build their registry, and the verbosity."""

    registry: Mapping[str, Any]
    verbosity: int = 0
    allow_changed_code: bool = False


@runtime_checkable
class SupportsTraining(Protocol):
    """Optional for an analysis that needs training runs which the studies do not contain yet."""

    def planned(self, studies: Sequence[StudyView]) -> AnalysisResult:
        """Return what `train` would do and cost. `--dry-run` prints it and writes nothing."""
        ...

    def train(self, studies: Sequence[StudyView], context: TrainingContext) -> StudyEnd:
        """Train what is missing, in separate folders inside the studies' folders, under their locks.

        `run` is called afterwards, and only if `train` returns `completed`. It reads the results of the training.
        """
        ...


@frozen(kw_only=True)
class PlannedTraining:
    """Trainings of one configuration in one study that an analysis needs."""

    study: str
    """Name of the study whose data and budget they use."""
    configuration: str
    """Equal texts in one study mean equal trainings, also of other analyses; they run once."""
    seeds: int
    done: int = 0
    architecture: Architecture | None = None
    """None if only the search will find it; its time is then that of a typical shape of the study."""
    epochs: int | None = None
    """None for those of a trial of the search."""


@frozen(kw_only=True)
class AnalysisPlan:
    """What an analysis will train, and what its result will be able to show."""

    trainings: Sequence[PlannedTraining] = ()
    at_most: bool = False
    """True if some of the trainings may turn out to be equal."""
    lines: Sequence[str] = ()
    """Text, which `scalecore plan` prints below the name of the analysis."""
    data: Mapping[str, Any] = field(factory=dict)
    """The content of `lines` for programs."""


@runtime_checkable
class SupportsPlan(Protocol):
    """Optional for an analysis that `scalecore plan` describes if the experiment file names it in `analyses`."""

    def plan(self, studies: Sequence[StudyView], *, wanted: Sequence[PlannedTraining]) -> AnalysisPlan:
        """Return the plan for studies that may not have begun: these have a plan and no trials.

        `wanted` are the trainings of the analyses before it. Raise `ScalecoreError` with the reason if the analysis
        will refuse these studies; `scalecore plan` prints it. Must not train or write.
        """
        ...


@runtime_checkable
class Analysis(Protocol):
    """Computes a result from studies. Called once, by `scalecore analyze` in its own process, never in a driver.

    An analysis must not change a study, and writes nothing: the core prints and stores its result.
    """

    def run(self, studies: Sequence[StudyView]) -> AnalysisResult:
        """Compute the result. `studies` are in the order of the command line, without repetition.

        A study may be running, interrupted, or without a completed trial. Raise `DataError` if there is nothing to
        compute, and `RefusedError` with the reason if the studies must not be compared. Any other exception is reported
        as a bug of the plugin.
        """
        ...
