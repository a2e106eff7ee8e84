from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

from scalecore.api.space import Architecture, Uniform
from scalecore_optuna.frontier import _log_improvement
from scalecore_optuna.gaussian import PRIOR_LENGTH, PRIOR_NOISE, PRIOR_SIGNAL, Kernel, Posterior, fit
from scalecore_optuna.grid import Grid
from scalecore_optuna.surrogate import MOST_KNOWN, Observation, Surrogate, _chosen, _standardised


def data(count: int, *, noise: float = 0.1) -> tuple[np.ndarray, np.ndarray]:
    """Five coordinates, of which two matter."""
    draw = np.random.default_rng(0)
    points = draw.random((count, 5))
    values = np.sin(4 * points[:, 0]) + points[:, 1] ** 2 + noise * draw.normal(size=count)
    return points, (values - values.mean()) / values.std()


def test_the_posterior_is_that_of_scikit_learn() -> None:
    """With the same kernel, mean and deviation agree with another implementation."""
    points, values = data(30)
    lengths, signal, noise = np.array([0.4, 0.8, 2.0, 3.0, 1.0]), 1.7, 0.05
    ours = Posterior(Kernel(lengths=lengths, signal=signal, noise=noise), points, values)
    kernel = ConstantKernel(signal) * Matern(length_scale=lengths, nu=2.5) + WhiteKernel(noise)
    theirs = GaussianProcessRegressor(kernel=kernel, optimizer=None).fit(points, values)
    places = np.random.default_rng(1).random((50, 5))
    mean, deviation = theirs.predict(places, return_std=True)
    assert ours.at(places)[0] == pytest.approx(mean, abs=1e-6)
    assert ours.at(places)[1] == pytest.approx(np.sqrt(deviation**2 - noise), abs=1e-5)


def test_the_fit_finds_relevant_coordinates_and_the_noise() -> None:
    """Relevant coordinates get short length scales; the noise variance is found within a factor of two."""
    points, values = data(120, noise=0.3)
    kernel = fit(points, values)
    assert kernel.lengths[:2].max() < kernel.lengths[2:].min()
    share = 0.09 / (np.var(np.sin(4 * points[:, 0]) + points[:, 1] ** 2) + 0.09)
    assert share / 2 < kernel.noise < share * 2


def test_the_fit_ends_at_an_optimum() -> None:
    """A step of 5 % in any parameter is worse, by scikit-learn's marginal likelihood and the priors."""
    points, values = data(40)
    theirs = GaussianProcessRegressor(
        kernel=ConstantKernel(1.0) * Matern(length_scale=np.ones(5), nu=2.5) + WhiteKernel(0.1), optimizer=None
    ).fit(points, values)
    means = np.array([PRIOR_SIGNAL[0], *[PRIOR_LENGTH[0]] * 5, PRIOR_NOISE[0]])
    spreads = np.array([PRIOR_SIGNAL[1], *[PRIOR_LENGTH[1]] * 5, PRIOR_NOISE[1]])

    def density(logs: np.ndarray) -> float:
        return float(theirs.log_marginal_likelihood(logs) - 0.5 * (((logs - means) / spreads) ** 2).sum())

    kernel = fit(points, values)
    found = np.log([kernel.signal, *kernel.lengths, kernel.noise])
    steps = [sign * 0.05 * one for one in np.eye(7) for sign in (1, -1)]
    assert max(density(found + step) for step in steps) < density(found)


def test_a_running_trial_counts_with_its_expected_loss() -> None:
    """The mean does not change; the uncertainty falls near the trial."""
    shapes = [Architecture(values={"width": w}, num_parameters=w, flops=1) for w in (8, 16)]
    surrogate = Surrogate(grid=Grid(shapes), space={"dropout": Uniform(low=0.0, high=1.0)})

    def seen(number: int, dropout: float, loss: float) -> Observation:
        found = surrogate.observation(number, {"width": 8, "dropout": dropout}, loss)
        assert found is not None
        return found

    observations = [seen(number, number / 12, (number / 12 - 0.2) ** 2) for number in range(6)]
    at = surrogate.features(np.array([0]), np.array([[0.9]]))
    alone, beside = surrogate.belief(observations), surrogate.belief(observations, [seen(6, 0.9, 0.0)])
    assert alone is not None
    assert beside is not None
    (mean, deviation), (again, smaller) = surrogate.at(alone, at), surrogate.at(beside, at)
    assert again == pytest.approx(mean, abs=1e-3)
    assert smaller < 0.5 * deviation


def test_losses_are_clipped_above_and_penalties_are_the_bound() -> None:
    """One diverged trial does not flatten the differences between the others."""
    losses = [*np.linspace(1.0, 1.1, 21), 50.0, math.inf]
    values, centre, scale = _standardised(losses)
    low, middle, high = np.quantile(losses[:-1], [0.25, 0.5, 0.75])
    bound = middle + 1.5 * (high - low)
    assert values[-2] == values[-1] == pytest.approx((bound - centre) / scale)
    assert scale < 0.06


def test_of_many_observations_the_best_half_and_a_spread_of_the_others_count() -> None:
    """The posterior stays affordable in a study of thousands of trials."""
    seen = [Observation(number=n, row=0, units=(), loss=float((n * 7919) % 1000)) for n in range(1000)]
    chosen = _chosen(seen, MOST_KNOWN)
    assert len(chosen) == MOST_KNOWN
    assert [one.number for one in chosen] == sorted(one.number for one in chosen)
    losses = sorted(one.loss for one in chosen)
    assert losses[: MOST_KNOWN // 2] == [float(n) for n in range(MOST_KNOWN // 2)]
    assert max(one.number for one in chosen) > 950
    assert min(one.number for one in chosen) < 50


def test_the_recommendation_resists_a_lucky_value() -> None:
    """A lucky trial in a bad region is not recommended, and the expected value is near the truth."""
    shapes = [Architecture(values={"width": w}, num_parameters=w, flops=1) for w in (8, 16, 32, 64)]
    surrogate = Surrogate(grid=Grid(shapes), space={"dropout": Uniform(low=0.0, high=1.0)})
    draw = np.random.default_rng(3)
    observations = []
    for number in range(60):
        dropout, width = float(draw.random()), shapes[number % 4].values["width"]
        loss = (dropout - 0.3) ** 2 + 0.02 * abs(math.log2(width / 16)) + 0.02 * float(draw.normal())
        loss = -0.1 if number == 7 else loss
        seen = surrogate.observation(number, {"width": width, "dropout": 0.95 if number == 7 else dropout}, loss)
        assert seen is not None
        observations.append(seen)
    found = surrogate.recommend(observations)
    assert found is not None
    best = observations[found.number]
    assert found.number != 7
    assert abs(best.units[0] - 0.3) < 0.15
    assert abs(found.value) < 0.04
    assert surrogate.recommend(observations, among={0, 1, 2}).number in {0, 1, 2}  # type: ignore[union-attr]
    assert surrogate.recommend(observations[:1]) is None


def test_a_tiny_expected_improvement_is_exact() -> None:
    """Compared with values of 60 digits. It is monotonic."""
    exact = {-40: -808.298568, -25: -319.861464, -8: -37.1223643, -6: -22.5788794, 0: -0.91893853, 3: 1.09873967}
    found = _log_improvement(np.array(list(exact), dtype=np.float64))
    assert found == pytest.approx(list(exact.values()), rel=1e-6)
    assert (np.diff(_log_improvement(np.linspace(-30, 5, 35_001))) > 0).all()
