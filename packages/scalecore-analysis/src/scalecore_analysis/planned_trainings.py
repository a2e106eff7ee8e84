"""The trainings after the search that analyses will need, before and after the search has found the best trials."""

from __future__ import annotations

from scalecore.api.analysis import PlannedTraining
from scalecore.api.errors import RefusedError
from scalecore.api.trials import StudyEnd, StudyView, TrialRecord, TrialState, best_first

__all__ = ["best_trials", "planned_best", "planned_training"]


def best_trials(study: StudyView) -> list[TrialRecord] | None:
    """The ranked trials of a search that is over; None while they may still change."""
    over = len(study.counted) >= study.total or study.end is StudyEnd.EXHAUSTED
    return best_first(study.counted, direction=study.direction) if over else None


def planned_best(study: StudyView, rank: int, *, seeds: int) -> PlannedTraining:
    """The replicates of the trial with this rank, 0 for the best, in its own study."""
    ranked = best_trials(study)
    if ranked is None:
        return PlannedTraining(study=study.name, configuration=f"trial of rank {rank + 1}", seeds=seeds)
    if not ranked:
        raise RefusedError(f"{study.name} has no completed trial to train again")
    return planned_training(study, ranked[rank], seeds=seeds)


def planned_training(study: StudyView, trial: TrialRecord, *, seeds: int) -> PlannedTraining:
    """The trainings of a known configuration in `study`, with the number of those that it contains already."""
    values = dict(trial.hyperparameters)
    done = sum(
        record.state is TrialState.COMPLETED
        and record.architecture.id == trial.architecture.id
        and dict(record.hyperparameters) == values
        for record in study.confirmations
    )
    epochs = values.get("epochs") or len(trial.learning_curve)
    return PlannedTraining(
        study=study.name,
        configuration=f"{trial.architecture.id}; {sorted(values.items())}",
        seeds=seeds,
        done=min(done, seeds),
        architecture=trial.architecture,
        epochs=int(epochs) or None,
    )
