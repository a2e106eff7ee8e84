"""The strategy's explanation: forced designs, coverage of dimensions and pairs, moves, the last choice."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from typing import TYPE_CHECKING

from scalecore.api.explanation import Covered, ForcedDesign, LastChoice, Recommendation
from scalecore_optuna.forced import explain

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from scalecore_optuna.forced import ForcedTrials
    from scalecore_optuna.grid import Grid
    from scalecore_optuna.surrogate import Surrogate
    from scalecore_optuna.trial_history import Known

__all__ = ["covered", "forced_designs", "last_choice", "moved", "recommendation"]


def covered(grid: Grid, trials: Iterable[Known]) -> tuple[Covered, ...]:
    """Visits of architectures, then of each varying dimension, then of each pair of varying dimensions."""
    shapes = [trial.architecture for trial in trials]
    varying = [name for name in grid.names if len(grid.values[name]) > 1]
    visits = Counter(shape.id for shape in shapes)
    result = [Covered(of=(), visits={shape.id: visits[shape.id] for shape in grid.architectures})]
    for names in (*((name,) for name in varying), *itertools.combinations(varying, 2)):
        columns = [grid.names.index(name) for name in names]
        counts = Counter(tuple(shape.values[name] for name in names) for shape in shapes)
        feasible = sorted({tuple(key[column] for column in columns) for key in grid.keys})
        result.append(Covered(of=names, visits={" x ".join(map(str, cell)): counts[cell] for cell in feasible}))
    return tuple(result)


def forced_designs(forced: ForcedTrials) -> tuple[ForcedDesign, ...]:
    """Each design with its trials."""
    result = []
    for design in forced.designs:
        trials = forced.trials_of(design)
        numbers = tuple(trials)
        outcome = trials[numbers[-1]].outcome if numbers else None
        state = "planned" if not numbers else "running" if outcome is None else str(outcome.state)
        result.append(
            ForcedDesign(
                label=design.label,
                architecture=design.architecture,
                reason=explain(design),
                trials=numbers,
                state=state,
            )
        )
    return tuple(result)


def moved(trials: Iterable[Known]) -> dict[str, int]:
    """Number of suggestions that each rule moved; `other` for older records without a rule."""
    return dict(Counter(trial.origin.rule or "other" for trial in trials if trial.origin.moved_from is not None))


def last_choice(trials: Mapping[int, Known]) -> LastChoice | None:
    """The trial with the highest number."""
    if not trials:
        return None
    number = max(trials)
    trial = trials[number]
    return LastChoice(
        number=number, architecture=trial.architecture, hyperparameters=trial.hyperparameters, origin=trial.origin
    )


def recommendation(surrogate: Surrogate, trials: Mapping[int, Known], *, direction: str) -> Recommendation | None:
    """The completed trial with the best posterior mean, whichever sampler chose it; None with fewer than two values.

    A trial that predicts a constant counts as a penalty, as in the samplers, and is never recommended (guard G09).
    """
    sign = -1.0 if direction == "maximize" else 1.0
    observations = []
    for number, trial in sorted(trials.items()):
        if trial.outcome is not None and trial.outcome.value is not None:
            loss = math.inf if trial.value is None else sign * trial.value
            seen = surrogate.observation(number, trial.params, loss)
            observations += [] if seen is None else [seen]
    # Imported results inform the surrogate but are never the study's best trial.
    own = {number: trial for number, trial in trials.items() if trial.origin.kind != "imported"}
    completed = {
        number
        for number, trial in own.items()
        if trial.informative and trial.outcome and trial.outcome.state == "completed"
    }
    found = surrogate.recommend(observations, among=completed)
    if found is None:
        return None
    trial = trials[found.number]
    return Recommendation(
        number=found.number,
        architecture=trial.architecture,
        hyperparameters=trial.hyperparameters,
        observed=trial.outcome.value if trial.outcome else None,
        value=sign * found.value,
        deviation=found.deviation,
    )
