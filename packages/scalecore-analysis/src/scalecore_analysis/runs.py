"""Runs of one configuration on several seeds.

The search selected its trial of a configuration for its value, so that value is optimistic: if a configuration was
retrained on fresh seeds, only these runs count.
"""

from __future__ import annotations

import statistics
from typing import Any

from attrs import frozen

from scalecore.api.trials import StudyView, TrialRecord, TrialState

__all__ = ["Configuration", "configurations", "metric_of"]

FRESH = ("replicate", "transfer")
"""Origins of trainings on fresh seeds, whatever analysis asked for them. A `final` training repeats a trial's own seed.
"""


@frozen(kw_only=True)
class Configuration:
    """One architecture with one set of hyper-parameters, and its completed runs.

    `fresh`: the runs are replicates that no selection used. `searched`: the trial of the search.
    """

    searched: TrialRecord | None
    runs: tuple[TrialRecord, ...]
    values: tuple[float, ...]
    fresh: bool
    constant: int
    """Number of runs that predict a constant, excluded or not (guard G09)."""
    excluded: int = 0
    """Number of completed runs that `runs` does not contain, because they predict a constant."""
    diverged: int = 0
    """Number of trainings on fresh seeds that diverged, and have no value."""

    @property
    def first(self) -> TrialRecord:
        """Any of the runs, to read what they share."""
        return self.runs[0]

    @property
    def mean(self) -> float:
        return statistics.fmean(self.values)

    @property
    def trainings(self) -> int:
        """Number of trainings, with those that the mean excludes."""
        return len(self.runs) + self.excluded + self.diverged

    @property
    def numbers(self) -> str:
        """The trials in the mean (guard G13)."""
        listed = ", ".join(str(run.number) for run in self.runs)
        return f"replicates {listed}" if self.fresh else f"trials {listed}"


def metric_of(record: TrialRecord, metric: str) -> float | None:
    """A metric of a completed trial at its best epoch; None where it is missing."""
    if record.state is not TrialState.COMPLETED:
        return None
    value = None if record.best is None else record.best.metrics.get(metric)
    if value is None and metric == "val_loss":
        value = record.value if record.best is None else None
    return float(value) if isinstance(value, int | float) else None


def configurations(study: StudyView, metric: str) -> list[Configuration]:
    """All configurations with a completed run, those of the search first, in the order of their first runs.

    A run that predicts a constant is excluded if the configuration has another that does not (guard G09).
    """
    searched: dict[Any, list[TrialRecord]] = {}
    fresh: dict[Any, list[TrialRecord]] = {}
    diverged: dict[Any, set[str]] = {}
    known = {record.hash for record in study.trials if record.origin.kind not in FRESH}
    seen: set[str] = set()
    for record in (*study.counted, *study.confirmations):
        if record.origin.kind == "final" or record.hash in seen:
            continue
        key = (record.architecture.id, tuple(sorted(record.hyperparameters.items())))
        if record.state is TrialState.DIVERGED and record.origin.kind in FRESH:
            diverged.setdefault(key, set()).add(record.hash)
        if metric_of(record, metric) is None:
            continue
        seen.add(record.hash)  # one training counts once, however often it was recorded
        group = fresh if record.origin.kind in FRESH and record.hash not in known else searched
        group.setdefault(key, []).append(record)
    found = []
    for key in dict.fromkeys([*searched, *fresh]):
        runs = fresh.get(key) or searched[key]
        healthy = [run for run in runs if not run.collapsed] or runs
        values = [metric_of(run, metric) for run in healthy]
        found.append(
            Configuration(
                searched=searched[key][0] if key in searched else None,
                runs=tuple(healthy),
                values=tuple(value for value in values if value is not None),
                fresh=key in fresh,
                constant=sum(run.collapsed for run in runs),
                excluded=len(runs) - len(healthy),
                diverged=len(diverged.get(key, set()) - seen),
            )
        )
    return found
