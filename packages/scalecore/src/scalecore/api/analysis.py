"""The protocol of analyses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from attrs import field, frozen

if TYPE_CHECKING:
    from scalecore.api.trials import StudyEnd, StudyView

__all__ = ["Analysis", "AnalysisResult", "SupportsTraining", "TrainingContext"]


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
