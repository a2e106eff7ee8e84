"""Importance of each parameter to a random forest that predicts the objective of held-out trials."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from scalecore_analysis.report.section import Subject

__all__ = ["importance"]

FEWEST = 30
MOST = 1000
"""Maximum number of trials used; of more, a fixed random sample."""
FOLDS = 5
REPEATS = 5
SEED = 0

Floats = npt.NDArray[np.float64]
Importance = tuple[float, float, float]


def importance(subject: Subject) -> tuple[str, dict[str, Importance]]:
    """A sentence that describes the method, and the mean, lowest and highest importance by parameter and dimension.

    Permutation importance (Breiman 2001) on held-out trials: the decrease of R² when the parameter's values are
    shuffled among the trials of a fold. The range is over the folds and is no confidence interval. Empty if there are
    too few trials, if no parameter varies, or if the forest has no predictive power, which makes importances noise.
    """
    trials = [trial for trial in subject.completed if not trial.collapsed]
    if len(trials) < FEWEST:
        return f"Importance needs {FEWEST} completed trials without constant predictions; there are {len(trials)}.", {}
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
        return "No importance: no parameter or no result varies.", {}
    scores, drops = _folds(np.stack(list(columns.values()), axis=1), y)
    if scores.mean() <= 0:
        return f"No importance: a forest has no predictive power on held-out trials (R² {scores.mean():.2f}).", {}
    found = {
        name: (float(of.mean()), float(of.min()), float(of.max())) for name, of in zip(columns, drops.T, strict=True)
    }
    ordered = dict(sorted(found.items(), key=lambda one: -one[1][0]))
    return (
        f"Importance: decrease of a random forest's R² on held-out trials (here {scores.mean():.2f}) when the values "
        f"are shuffled; mean, lowest and highest of {FOLDS} folds, {len(trials)} trials."
    ), ordered


def _coded(given: list[Any]) -> Floats:
    """Numbers unchanged, other values by their rank as text; a missing value ranks lowest."""
    if all(isinstance(one, int | float) for one in given if one is not None):
        known = [float(one) for one in given if one is not None]
        return np.array([min(known) - 1.0 if one is None else float(one) for one in given])
    levels = sorted({str(one) for one in given})
    return np.array([float(levels.index(str(one))) for one in given])


def _folds(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """R² on each held-out fold [folds], and its decrease for each column [folds, columns]."""
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
