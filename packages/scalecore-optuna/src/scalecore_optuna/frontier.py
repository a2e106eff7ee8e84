"""The sampler `frontier`: a Gaussian process over feasible architectures and hyper-parameters together."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import StudyDirection
from optuna.trial import TrialState
from scipy.special import ndtr

from scalecore_optuna.gaussian import Kernel, Posterior
from scalecore_optuna.surrogate import Belief, Observation, Surrogate

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from optuna.distributions import BaseDistribution
    from optuna.study import Study
    from optuna.trial import FrozenTrial

    from scalecore_optuna.coverage import Coverage, Tried

    Array = NDArray[np.float64]
    Rows = NDArray[np.int64]

__all__ = ["FrontierSampler", "loss_of"]

CANDIDATES = 1600
CENTRES = 6
ROUNDS = 3
"""Points at which the acquisition is evaluated, good points from which it is improved, and rounds of improvement."""

MOST_CENTRES = 64
"""The first centres come from this many best trials and this many newest trials."""

NEIGHBOURS = 8
"""A neighbour is drawn from this many nearest architectures."""

MOST_REFUSED = 12
"""An architecture is skipped after this many repeats and near-repeats."""

CROWDING = 0.5
"""Expected improvement is divided by (1 + visits of the architecture) to this power."""


class FrontierSampler(BaseSampler):
    """Suggests the point with the greatest expected improvement divided by sqrt(1 + visits of its architecture).

    Architectures are enumerated, so that every suggestion is feasible. Hyper-parameters are continuous, or snapped to
    their steps and choices before evaluation. It never suggests a point that `coverage` would move. A trial that
    violates a constraint marks an architecture that does not fit: it is never suggested again, and similar ones less.

    Intended as the inner sampler of `ArchitecturalSampler`. Parameters that `coverage` does not know are drawn at
    random; with fewer than two losses or several objectives, all parameters are.
    """

    def __init__(
        self,
        coverage: Coverage,
        *,
        seed: int | None = None,
        roles: Mapping[str, str] | None = None,
        tried: Tried | None = None,
    ) -> None:
        self.coverage = coverage
        self.surrogate = Surrogate(grid=coverage.grid, space=coverage.space, roles=roles)
        self.tried = tried
        self._names = {*coverage.grid.names, *coverage.space}
        self._rng = np.random.default_rng(seed)
        self._random = RandomSampler(seed=seed)
        self._study: Study | None = None
        self._done = 0
        self._observations: list[Observation] = []
        self._unfit: set[int] = set()

    def reseed(self, seed: int) -> None:
        """Behave like a new sampler with this seed, but keep the cached computations."""
        self._rng = np.random.default_rng(seed)
        self._random = RandomSampler(seed=seed)

    def reseed_rng(self) -> None:
        self._rng = np.random.default_rng()
        self._random.reseed_rng()

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        if not self._names & search_space.keys() or len(study.directions) > 1:
            return {}
        observations, pending, unfit = self._read(study, trial)
        belief = self.surrogate.belief(observations, pending)
        if belief is None:
            return {}
        return self._suggest(belief, observations, unfit, self._tried(study))

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._random.sample_independent(study, trial, param_name, param_distribution)

    # --- reading the study ------------------------------------------------------------------------------------------

    def _read(self, study: Study, current: FrozenTrial) -> tuple[list[Observation], list[Observation], set[int]]:
        """Finished trials with a loss or a penalty, running trials, and rows of architectures that do not fit.

        Finished trials do not change: those before the first unfinished trial are read only once.
        """
        if study is not self._study:
            self._study, self._done, self._observations, self._unfit = study, 0, [], set()
        sign = -1.0 if study.direction is StudyDirection.MAXIMIZE else 1.0
        later: list[Observation] = []
        pending: list[Observation] = []
        unfit: set[int] = set()
        whole = True
        for trial in study.get_trials(deepcopy=False)[self._done :]:
            if not trial.state.is_finished():
                whole = False
                if trial.number != current.number:
                    waiting = self.surrogate.observation(trial.number, trial.params, 0.0)
                    pending += [] if waiting is None else [waiting]
                continue
            seen, row = self._finished(trial, sign)
            (self._observations if whole else later).extend([] if seen is None else [seen])
            (self._unfit if whole else unfit).update(set() if row is None else {row})
            self._done += whole
        return [*self._observations, *later], pending, self._unfit | unfit

    def _finished(self, trial: FrozenTrial, sign: float) -> tuple[Observation | None, int | None]:
        if breaks_constraint(trial):
            found = self.surrogate.observation(trial.number, trial.params, math.inf)
            return None, None if found is None else found.row
        loss = loss_of(trial)
        if loss is None:
            return None, None
        return self.surrogate.observation(
            trial.number, trial.params, sign * loss if math.isfinite(loss) else loss
        ), None

    def _tried(self, study: Study) -> Tried:
        return self.tried if self.tried is not None else self.coverage.tried_in(study)

    # --- suggesting -------------------------------------------------------------------------------------------------

    def _suggest(
        self, belief: Belief, observations: Sequence[Observation], unfit: set[int], tried: Tried
    ) -> dict[str, Any]:
        weights = self._weights(observations, unfit, tried)
        rows, units = self._candidates(belief, observations, weights)
        gains = self._gains(belief, rows, units, weights)
        for step in range(ROUNDS):
            top = np.argsort(-gains, kind="stable")[:CENTRES]
            near_rows, near_units = self._around(rows[top], units[top], count=16, spread=0.1 / 3**step, stay=True)
            rows, units = np.concatenate([rows, near_rows]), np.concatenate([units, near_units])
            gains = np.concatenate([gains, self._gains(belief, near_rows, near_units, weights)])
        order = np.argsort(-gains, kind="stable")
        first: dict[str, Any] | None = None
        refused: Counter[int] = Counter()
        for at in order:
            row = int(rows[at])
            if refused[row] >= MOST_REFUSED:
                continue
            architecture = self.coverage.grid.architectures[row]
            pairs = zip(self.surrogate.axes.items(), map(float, units[at]), strict=True)
            values = {name: axis.distribution.at(unit) for (name, axis), unit in pairs}
            if self.coverage.is_new(architecture, values, tried):
                return {**architecture.values, **values}
            first = first or {**architecture.values, **values}
            refused[row] += 1
        return first or {}

    def _weights(self, observations: Sequence[Observation], unfit: set[int], tried: Tried) -> Array:
        """Logarithm of each architecture's factor on the expected improvement: shape [architectures]."""
        grid = self.coverage.grid
        logs = -CROWDING * np.log1p(tried.visits_of(grid))
        if unfit:
            rows = sorted({one.row for one in observations} | unfit)
            known = self.surrogate.coordinates.scaled
            kernel = Kernel(lengths=np.full(known.shape[1], 0.3), signal=1.0, noise=0.05)
            broken = np.array([float(row in unfit) for row in rows])
            probability = 1.0 - np.clip(Posterior(kernel, known[rows], broken).at(known)[0], 0.0, 1.0 - 1e-6)
            logs = logs + np.log(probability)
            logs[sorted(unfit)] = -np.inf
        running = np.array([key in tried.running for key in grid.keys])
        if not running.all():
            logs = np.where(running, logs - 1e6, logs)
        return logs

    def _gains(self, belief: Belief, rows: Rows, units: Array, weights: Array) -> Array:
        mean, deviation = self.surrogate.at(belief, self.surrogate.features(rows, units))
        return _log_improvement((belief.least - mean) / deviation) + np.log(deviation) + weights[rows]

    def _candidates(self, belief: Belief, observations: Sequence[Observation], weights: Array) -> tuple[Rows, Array]:
        """Two thirds cover the space, with all architectures equally often; one third is near the best trials."""
        count, width = len(weights), len(self.surrogate.axes)
        over = 2 * CANDIDATES // 3
        order = self._rng.permutation(count)
        rows = np.resize(order, over)
        units = self._rng.random((over, width))
        known_rows = np.array([one.row for one in observations], dtype=np.int64)
        known_units = np.array([one.units for one in observations], dtype=np.float64).reshape(len(observations), width)
        recent = slice(max(0, len(observations) - MOST_CENTRES), None)
        best = np.argsort([one.loss for one in observations], kind="stable")[:MOST_CENTRES]
        pool = np.unique(np.concatenate([best, np.arange(len(observations))[recent]]))
        means = self.surrogate.at(belief, self.surrogate.features(known_rows[pool], known_units[pool]))[0]
        top = pool[np.argsort(means, kind="stable")[:CENTRES]]
        each = (CANDIDATES - over) // max(len(top), 1)
        near = self._around(known_rows[top], known_units[top], count=each, spread=0.1, stay=False)
        return np.concatenate([rows, near[0]]), np.concatenate([units, near[1]])

    def _around(self, rows: Rows, units: Array, *, count: int, spread: float, stay: bool) -> tuple[Rows, Array]:
        """`count` points near each one, with slightly changed hyper-parameters. Half move to a near architecture."""
        rows, units = np.repeat(rows, count), np.repeat(units, count, axis=0)
        moves = self._rng.normal(size=units.shape) * spread * np.exp(self._rng.normal(size=(len(rows), 1)))
        moves *= self._rng.random(units.shape) < 0.6
        moved = np.clip(units + moves, 0.0, 1.0)
        if not stay:
            scaled = self.surrogate.coordinates.scaled
            away = self._rng.random(len(rows)) < 0.5
            near = np.argsort(np.square(scaled[rows[away]][:, None] - scaled[None]).sum(axis=2), axis=1, kind="stable")
            rank = self._rng.integers(0, min(NEIGHBOURS, near.shape[1]), size=len(near))
            rows[away] = near[np.arange(len(near)), rank]
        return rows, moved


def loss_of(trial: FrozenTrial) -> float | None:
    """The value of a finished trial; infinity if it was pruned without a value; None if it is no observation."""
    if trial.state is TrialState.COMPLETE:
        return trial.value
    if trial.state is not TrialState.PRUNED:
        return None
    if trial.value is not None:
        return trial.value
    return math.inf


def breaks_constraint(trial: FrozenTrial) -> bool:
    """Whether the trial exceeded a limit, for instance the memory limit."""
    return any(value > 0 for value in trial.constraints.values())


def _log_improvement(z: Array) -> Array:
    """The logarithm of the expected improvement of a standard normal variable over z below its mean."""
    density = np.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)
    plain = np.log(np.maximum(density + z * ndtr(z), 1e-300))
    # Below -20 the two terms cancel: use the first terms of the asymptotic series, 1 / z^2 - 3 / z^4.
    far = np.minimum(z, -20.0)
    tail = -0.5 * far * far - 0.5 * math.log(2 * math.pi) - 2.0 * np.log(-far) + np.log1p(-3.0 / (far * far))
    return np.where(z < -20.0, tail, plain)
