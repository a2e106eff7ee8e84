"""Analysis `cross-budget`: is the best configuration of one parameter budget also good at another?

Each study's best configuration is trained at every budget on fresh seeds, with the same hyper-parameters and the
nearest shape of the other budget. It is retrained at its own budget too: the best value of a search is optimistic
(guard G14), so only replicates are compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from attrs import evolve, frozen

from scalecore.api import formatting
from scalecore.api.analysis import AnalysisPlan, AnalysisResult, PlannedTraining, TrainingContext
from scalecore.api.engine import Wanted, forecast, open_study, train_wanted
from scalecore.api.errors import RefusedError
from scalecore.api.predictions import trial_predictions
from scalecore.api.statistics import MIN_SEEDS, Estimate, difference, margin_of, mean, verdict
from scalecore.api.studies import StudyFolder
from scalecore.api.trials import Origin, StudyEnd, StudyView, TrialRecord, TrialState
from scalecore_analysis.groups import Group, budget_groups
from scalecore_analysis.nearest_shape import nearest_shape
from scalecore_analysis.options import CrossBudgetOptions
from scalecore_analysis.planned_trainings import best_trials, planned_best, planned_training


@frozen(kw_only=True, eq=False)
class Cell:
    """One configuration at one budget: the best of `source`, trained at the budget of `target`."""

    source: StudyView
    target: StudyView
    trial: TrialRecord
    """The best trial of the source, with an architecture of the target."""
    same_as: str | None = None
    """The study whose best trial needs the same training here; this cell is then not trained again."""

    @property
    def own(self) -> bool:
        return self.source is self.target


class CrossBudget:
    """Satisfies `scalecore.api.analysis.Analysis` and `SupportsTraining`."""

    def __init__(self, options: CrossBudgetOptions) -> None:
        self._options = options

    def planned(self, studies: Sequence[StudyView]) -> AnalysisResult:
        """The missing trainings and their forecast durations."""
        rows: list[dict[str, Any]] = []
        total, unknown, missing = 0.0, 0, 0
        for cell in (cell for group in groups_of(studies) for cell in cells_of(group.studies)):
            done = sum(record.state is TrialState.COMPLETED for record in _replicates(cell, self._options.seeds))
            left = 0 if cell.same_as else self._options.seeds - done
            seconds = _seconds(cell)
            total += (seconds or 0.0) * left
            unknown += left if seconds is None else 0
            missing += left
            rows.append(
                {
                    "best of": cell.source.name,
                    "trained at": cell.target.budget,
                    "architecture": formatting.shape(cell.trial.architecture),
                    "seeds": self._options.seeds,
                    "done": done,
                    "each": formatting.duration(seconds),
                    "remark": f"same as the best of {cell.same_as}: not run" if cell.same_as else None,
                }
            )
        cost = f"{missing} trainings left, about {formatting.duration(total)} of trial time in total"
        return AnalysisResult(
            title="Plan of the cross-budget validation",
            summary=[cost + (f"; duration of {unknown} trainings unknown" if unknown else "")],
            tables={"trainings": rows},
            data={"trainings": missing, "seconds": total if not unknown else None},
        )

    def plan(self, studies: Sequence[StudyView], *, wanted: Sequence[PlannedTraining]) -> AnalysisPlan:
        """Every best configuration at every budget; which cells are equal is known once the searches are over."""
        groups = [group.studies for group in _comparable(studies)]
        cells = [(source, target) for group in groups for target in group for source in group]
        return AnalysisPlan(
            trainings=[_planned(source, target, seeds=self._options.seeds) for source, target in cells],
            at_most=any(best_trials(source) is None for source, _ in cells),
        )

    def train(self, studies: Sequence[StudyView], context: TrainingContext) -> StudyEnd:
        """Run the missing trainings, budget by budget; the next call resumes a stopped training."""
        groups = groups_of(studies)
        cells = [cell for group in groups for cell in cells_of(group.studies) if cell.same_as is None]
        for target in (study for group in groups for study in group.studies):
            folder = StudyFolder(target.folder)
            wanted = [one for cell in cells if cell.target is target for one in _wanted(cell, self._options.seeds)]
            others = [study.folder for study in studies if study is not target]
            with open_study(folder, context) as study:
                title = f"cross-budget validation of {target.name}"
                done = train_wanted(study, wanted, title=title, elsewhere=others)
            if done.end is not StudyEnd.COMPLETED:
                return done.end
        return StudyEnd.COMPLETED

    def run(self, studies: Sequence[StudyView]) -> AnalysisResult:
        """The matrix of means with confidence intervals, and a verdict for each transfer between budgets."""
        rows: list[dict[str, Any]] = []
        pairs: list[dict[str, Any]] = []
        summary: list[str] = []
        refused: list[str] = []
        for group in groups_of(studies):
            cells, transfers = cells_of(group.studies), []
            for target in group.studies:
                here = [cell for cell in cells if cell.target is target]
                rows += [group.head | _row(cell, self._options.seeds) for cell in here]
                transfers += [group.head | pair for pair in _pairs(here, self._options.seeds)]
            summary.append(group.titled(_verdict_text(transfers, seeds=self._options.seeds)))
            pairs += transfers
            refused += [
                f"{_name(cell)} is the same training as the best of {cell.same_as} there and was run once."
                for cell in cells
                if cell.same_as
            ]
        return AnalysisResult(
            title="Cross-budget validation",
            summary=summary,
            tables={"matrix": rows, "transfers": pairs},
            data={"cells": rows, "transfers": pairs, "seeds": self._options.seeds},
            notes=[
                "All values come from replicates on fresh seeds, none from the search.",
                "Gap: mean of the transferred configuration minus mean of the budget's best configuration; above 0 is "
                "worse. Intervals are Bonferroni-adjusted within a budget and include seed and window variance.",
                "holds: equivalent within the margin (two one-sided tests); lost: significantly worse.",
                *refused,
            ],
        )


def groups_of(studies: Sequence[StudyView]) -> list[Group]:
    """The groups of `_comparable`; raises `RefusedError` for a study without a completed trial, too."""
    found = _comparable(studies)
    for study in (study for group in found for study in group.studies):
        if study.best is None:
            raise RefusedError(f"{study.folder}: the study has no completed trial to transfer")
    return found


def _comparable(studies: Sequence[StudyView]) -> list[Group]:
    """Groups of studies that differ in their budget only; a campaign over horizons has one group per horizon.

    Raises `RefusedError` if no group has several budgets.
    """
    found = [group for group in budget_groups(studies) if len(group.studies) > 1]
    if not found:
        raise RefusedError(
            "no two studies have the same data, target, split, model and objective and different budgets, so there is "
            "nothing to transfer; name studies that differ only in their budget"
        )
    return found


def cells_of(studies: Sequence[StudyView]) -> list[Cell]:
    """All cells of one group, by target, each target's own cell first."""
    cells: list[Cell] = []
    for target in studies:
        grid = target.plan.architectures
        seen: dict[tuple[str, str], str] = {}
        for source in sorted(studies, key=lambda one: one is not target):
            best = source.best
            assert best is not None
            shape = best.architecture
            if source is not target:
                shape = nearest_shape(shape, grid.shapes, roles=grid.roles)
            same = (shape.id, repr(sorted(best.hyperparameters.items())))
            trial = evolve(best, architecture=shape)
            cells.append(Cell(source=source, target=target, trial=trial, same_as=seen.get(same)))
            seen.setdefault(same, source.name)
    return cells


def _planned(source: StudyView, target: StudyView, *, seeds: int) -> PlannedTraining:
    """The trainings of a cell, whose configuration is unknown until the search of its source is over."""
    if source is target:
        return planned_best(target, 0, seeds=seeds)
    ranked, grid = best_trials(source), target.plan.architectures
    if ranked is None:
        return PlannedTraining(study=target.name, configuration=f"best of {source.name}", seeds=seeds)
    if not ranked:
        raise RefusedError(f"{source.name} has no completed trial to transfer")
    shape = nearest_shape(ranked[0].architecture, grid.shapes, roles=grid.roles)
    return planned_training(target, evolve(ranked[0], architecture=shape), seeds=seeds)


# --- trainings ------------------------------------------------------------------------------------------------------


@frozen(kw_only=True, eq=False)
class _Values:
    values: list[float]
    losses: np.ndarray[Any, np.dtype[np.float64]] | None
    failed: int


def _wanted(cell: Cell, seeds: int) -> list[Wanted]:
    what = f"trial {cell.trial.number}" if cell.own else f"best of {cell.source.name}"
    return [
        Wanted(
            origin=Origin(kind="replicate" if cell.own else "transfer", label=f"{what}, replicate {replicate}"),
            architecture=cell.trial.architecture,
            hyperparameters=dict(cell.trial.hyperparameters),
            trial=cell.trial.number if cell.own else None,
            replicate=replicate,
        )
        for replicate in range(1, seeds + 1)
    ]


def _replicates(cell: Cell, seeds: int) -> list[TrialRecord]:
    """The first finished trainings of a cell, matched by configuration: `scalecore confirm` may have trained some."""
    mine = [
        record
        for record in cell.target.confirmations
        if record.architecture.id == cell.trial.architecture.id
        and dict(record.hyperparameters) == dict(cell.trial.hyperparameters)
    ]
    return mine[:seeds]


def _values(cell: Cell, records: Sequence[TrialRecord]) -> _Values:
    done = [record for record in records if record.state is TrialState.COMPLETED and record.value is not None]
    objective = cell.target.experiment["objective"]
    kept = [trial_predictions(cell.target.folder, record) for record in done]
    is_loss = objective["metric"] == "val_loss" and objective["reduction"] == "best" and kept and all(kept)
    return _Values(
        values=[float(record.value or 0.0) for record in done],
        losses=np.stack([one.losses() for one in kept if one is not None]) if is_loss else None,
        failed=len(records) - len(done),
    )


def _overlap(cell: Cell) -> int:
    return cell.target.plan.data.target.overlap


def _row(cell: Cell, seeds: int) -> dict[str, Any]:
    found = _values(cell, _replicates(cell, seeds))
    estimate = mean(found.values, losses=found.losses, overlap=_overlap(cell)) if found.values else None
    interval = estimate.interval() if estimate else None
    return {
        "best of": cell.source.name,
        "trained at": cell.target.budget,
        "architecture": formatting.shape(cell.trial.architecture),
        "seeds": len(found.values),
        "failed": found.failed,
        "mean": estimate.value if estimate else None,
        "low": interval[0] if interval else None,
        "high": interval[1] if interval else None,
        "remark": f"same as the best of {cell.same_as}" if cell.same_as else None,
    }


def _pairs(cells: Sequence[Cell], seeds: int) -> list[dict[str, Any]]:
    """Compare the cells of one target with the target's own cell."""
    (own,) = (cell for cell in cells if cell.own)
    others = [cell for cell in cells if not cell.own and cell.same_as is None]
    here = {cell: _values(cell, _replicates(cell, seeds)) for cell in (own, *others)}
    if not here[own].values:
        return [_pair(cell, None, seeds=(0, 0), margin=0.0, comparisons=len(others)) for cell in others]
    margin = margin_of(here[own].values, [here[cell].values for cell in others])
    rows = []
    for cell in others:
        mine, best = here[cell], here[own]
        gap = None
        if mine.values:
            losses = None if mine.losses is None or best.losses is None else (mine.losses, best.losses)
            gap = difference(mine.values, best.values, losses=losses, overlap=_overlap(cell))
        counts = (len(best.values), len(mine.values))
        rows.append(_pair(cell, gap, seeds=counts, margin=margin, comparisons=len(others)))
    return rows


def _pair(
    cell: Cell, less: Estimate | None, *, seeds: tuple[int, int], margin: float, comparisons: int
) -> dict[str, Any]:
    row: dict[str, Any] = {"best of": cell.source.name, "trained at": cell.target.budget}
    if less is None:
        return row | {"gap": None, "low": None, "high": None, "verdict": "inconclusive"}
    sign = 1.0 if cell.target.direction == "minimize" else -1.0
    gap = evolve(less, value=sign * less.value)
    interval = gap.interval(level=1 - 0.05 / max(1, comparisons))
    said = {"worse": "lost", "equivalent": "holds", "inconclusive": "inconclusive"}[
        verdict(gap, seeds=seeds, margin=margin, comparisons=comparisons)
    ]
    if interval is not None and interval[1] < 0 and min(seeds) >= MIN_SEEDS:
        said = "better"
    low, high = interval if interval is not None else (None, None)
    return row | {"gap": gap.value, "low": low, "high": high, "verdict": said}


def _verdict_text(transfers: Sequence[Mapping[str, Any]], *, seeds: int) -> str:
    held = sum(pair["verdict"] in ("holds", "better") for pair in transfers)
    lost = sum(pair["verdict"] == "lost" for pair in transfers)
    return (
        f"{len(transfers)} transfers between budgets ({seeds} seeds each): {held} hold, {lost} lost, "
        f"{len(transfers) - held - lost} inconclusive."
    )


def _name(cell: Cell) -> str:
    return f"The best of {cell.source.name} at {cell.target.budget}"


def _seconds(cell: Cell) -> float | None:
    """Forecast duration of one training, from the finished trials of the target."""
    windows = cell.target.plan.data.parts["train"].windows
    epochs = int(cell.trial.hyperparameters.get("epochs") or len(cell.trial.learning_curve))
    shape = cell.trial.architecture
    return forecast([shape], cell.target.trials, windows=windows, epochs=epochs).seconds[shape.id]
