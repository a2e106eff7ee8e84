"""How much a forest of regression trees needs each parameter to foretell the objective of a trial it has not seen."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from scalecore_analysis.report.section import Subject

__all__ = ["importance"]

FEWEST = 30
MOST = 1000
"""Trials that are looked at: of more, a fixed random choice."""
FOLDS = 5
REPEATS = 5
SEED = 0

Floats = npt.NDArray[np.float64]
Importance = tuple[float, float, float]


def importance(subject: Subject) -> tuple[str, dict[str, Importance]]:
    """A sentence that says what was done, and by parameter and dimension the mean, lowest and highest importance.

    Importance by permutation (Breiman 2001) on held-out trials: how much R² falls when the parameter's values are
    shuffled among the trials of a fold. The range is that over the folds; it is no confidence interval. Empty where
    trials are too few, nothing varied, or the forest foretells nothing: then its importances would be noise.
    """
    trials = [trial for trial in subject.completed if not trial.collapsed]
    if len(trials) < FEWEST:
        return f"Importance needs {FEWEST} completed trials that are no constant; there are {len(trials)}.", {}
    if len(trials) > MOST:
        chosen = np.random.default_rng(SEED).choice(len(trials), MOST, replace=False)
        trials = [trials[index] for index in sorted(chosen)]
    names = [*subject.study.plan.architectures.dimensions]
    names += list(dict.fromkeys(name for trial in trials for name in trial.hyperparameters if name not in names))
    columns: dict[str, Floats] = {}
    for name in names:
        given = [trial.architecture.values.get(name, trial.hyperparameters.get(name)) for trial in trials]
        if len({str(one) for one in given}) > 1:
            columns[name] = _coded(given)
    y = np.array([trial.value for trial in trials], dtype=np.float64)
    if not columns or y.std() == 0:
        return "Importance: nothing varied.", {}
    scores, drops = _folds(np.stack(list(columns.values()), axis=1), y)
    if scores.mean() <= 0:
        return f"Importance is not given: a forest foretells nothing of held-out trials (R² {scores.mean():.2f}).", {}
    found = {
        name: (float(of.mean()), float(of.min()), float(of.max())) for name, of in zip(columns, drops.T, strict=True)
    }
    ordered = dict(sorted(found.items(), key=lambda one: -one[1][0]))
    return (
        f"Importance: how much R² of a random forest on held-out trials (here {scores.mean():.2f}) falls when the "
        f"values are shuffled; mean, lowest and highest of {FOLDS} folds, {len(trials)} trials."
    ), ordered


def _coded(given: list[Any]) -> Floats:
    """Numbers as they are, other values by their rank as text; a missing one below all."""
    if all(isinstance(one, int | float) for one in given if one is not None):
        known = [float(one) for one in given if one is not None]
        return np.array([min(known) - 1.0 if one is None else float(one) for one in given])
    levels = sorted({str(one) for one in given})
    return np.array([float(levels.index(str(one))) for one in given])


def _folds(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """R² on each held-out fold [folds], and its fall for each column [folds, columns]."""
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.inspection import permutation_importance
    from sklearn.model_selection import KFold

    scores, drops = [], []
    for learned, held in KFold(FOLDS, shuffle=True, random_state=SEED).split(x):
        forest = RandomForestRegressor(n_estimators=60, min_samples_leaf=2, random_state=SEED, n_jobs=1)
        forest.fit(x[learned], y[learned])
        found = permutation_importance(forest, x[held], y[held], n_repeats=REPEATS, random_state=SEED)
        scores.append(forest.score(x[held], y[held]))
        drops.append(found.importances_mean)
    return np.array(scores), np.array(drops)
