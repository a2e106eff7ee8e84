"""What an analysis does at run time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from attrs import field, frozen

if TYPE_CHECKING:
    from scalecore.api.trials import StudyEnd, StudyView

__all__ = ["Analysis", "AnalysisResult", "SupportsTraining", "TrainingContext"]


@frozen(kw_only=True)
class AnalysisResult:
    """What an analysis found: sentences, tables (rows of plain values) and a JSON form.

    Every number is computed from trial records, which the result names (guard G13); what is missing is None.
    The page begins with `summary` and ends with `notes`; `data` is for programs. `files` holds further
    files by name, as text or bytes, for instance a page with figures; they are written beside the result.
    """

    title: str
    tables: Mapping[str, Sequence[Mapping[str, Any]]]
    data: Mapping[str, Any]
    summary: Sequence[str] = ()
    notes: Sequence[str] = ()
    files: Mapping[str, str | bytes] = field(factory=dict)


@frozen(kw_only=True)
class TrainingContext:
    """What an analysis that trains is given: how attempts build their registry, and how much the user wants to see."""

    registry: Mapping[str, Any]
    verbosity: int = 0
    allow_changed_code: bool = False


@runtime_checkable
class SupportsTraining(Protocol):
    """What an analysis may have besides, when its result needs trainings that the studies do not hold yet."""

    def planned(self, studies: Sequence[StudyView]) -> AnalysisResult:
        """What `train` would do and cost: printed by `--dry-run`, which writes nothing."""
        ...

    def train(self, studies: Sequence[StudyView], context: TrainingContext) -> StudyEnd:
        """Train what is missing, in separate folders inside the studies' folders, under their locks. Called before
        `run`, which reads what it left; only after an end of `completed` is `run` called.
        """
        ...


@runtime_checkable
class Analysis(Protocol):
    """From studies to a result. Called by `scalecore analyze` in its own process, once, never during a run.

    Nothing of a study may be changed, and nothing is written by the analysis: the core prints and stores what it
    returns.
    """

    def run(self, studies: Sequence[StudyView]) -> AnalysisResult:
        """Compute the result. `studies` are in the order of the command line, each one once; they may be running,
        interrupted, or without a completed trial.

        Raise `DataError` where there is nothing to compute, and `RefusedError` where the studies must not be compared,
        saying why. Any other exception is reported as the plugin's fault.
        """
        ...
