"""The laws: how a loss may depend on parameters N and data D, with the gradients that the estimator needs.

A law is evaluated as the log of the predicted loss, at logs of N and D that are centred on the data, since centred
parameters are less correlated. Sums of terms are log-sum-exp of the logs of the terms, as in Hoffmann et al. (2022,
Training compute-optimal large language models, D.3).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
from attrs import field, frozen

__all__ = ["LAWS", "Floats", "Law", "Points", "centred"]

Floats = npt.NDArray[np.float64]

LOG10 = float(np.log(10.0))
LARGEST_EXPONENT = 4.0
SMALLEST_TERM = 1e-9
"""A term that the linear solve puts at zero starts at this share of the typical loss: a log needs something."""


@frozen(kw_only=True, eq=False)
class Points:
    """Losses and what they depend on: one entry for each independent run, all of shape [runs]."""

    parameters: Floats
    windows: Floats
    """Training windows seen, D."""
    losses: Floats
    budgets: npt.NDArray[np.int64] = field()
    """Which runs share a size: 0 for the smallest. Runs of one budget may differ in configuration."""
    clusters: npt.NDArray[np.int64] = field()
    """Configuration × seed: what is resampled."""

    @budgets.default
    def _of_sizes(self) -> npt.NDArray[np.int64]:
        return np.unique(self.parameters, return_inverse=True)[1].astype(np.int64)

    @clusters.default
    def _each_alone(self) -> npt.NDArray[np.int64]:
        return np.arange(len(self.losses))

    def without(self, budget: int) -> Points:
        """All runs but those of one budget."""
        keep = self.budgets != budget
        return Points(
            parameters=self.parameters[keep],
            windows=self.windows[keep],
            losses=self.losses[keep],
            budgets=self.budgets[keep],
            clusters=self.clusters[keep],
        )


Inputs = tuple[Floats, Floats]
"""Centred logs of N and D, each [runs]."""


def centred(parameters: npt.ArrayLike, windows: npt.ArrayLike, *, of: Points) -> Inputs:
    """Natural logs of N and D, less the means of the logs of the points that are fitted."""
    logs = (np.log(np.asarray(parameters, np.float64)), np.log(np.asarray(windows, np.float64)))
    return logs[0] - np.log(of.parameters).mean(), logs[1] - np.log(of.windows).mean()


@frozen(kw_only=True)
class Law:
    """One form. `terms` evaluates parameters [..., count] at inputs: log of the loss [..., runs], its gradient with
    respect to the parameters [..., runs, count].
    """

    name: str
    text: str
    count: int
    """Parameters of the mean."""
    terms: Callable[[Floats, Inputs], tuple[Floats, Floats]]
    bounds: Sequence[tuple[float | None, float | None]]
    exponents: int
    """How many exponents the law has; the rest is linear in the loss for given exponents."""
    columns: Callable[[Floats, Inputs], Floats]
    """For exponents [exponents]: the columns [runs, linear] of the linear part."""
    assemble: Callable[[Floats, Floats, float], Floats]
    """Parameters from linear coefficients, exponents and a typical loss."""
    natural: Callable[[Floats, Points], dict[str, Floats]]
    """The parameters as papers write them, from fitted ones [..., count]."""
    uses_windows: bool = False


def _constant(theta: Floats, inputs: Inputs) -> tuple[Floats, Floats]:
    level = theta[..., :1] + 0 * inputs[0]
    return level, np.ones((*level.shape, 1))


def _power(theta: Floats, inputs: Inputs) -> tuple[Floats, Floats]:
    n = inputs[0]
    value = theta[..., 0:1] - theta[..., 1:2] * n
    return value, np.stack([np.ones_like(value), np.broadcast_to(-n, value.shape)], axis=-1)


def _power_floor(theta: Floats, inputs: Inputs) -> tuple[Floats, Floats]:
    n = inputs[0]
    first = theta[..., 0:1] - theta[..., 1:2] * n
    value = np.logaddexp(first, theta[..., 2:3])
    share = np.exp(first - value)
    return value, np.stack([share, -n * share, 1 - share], axis=-1)


def _chinchilla(theta: Floats, inputs: Inputs) -> tuple[Floats, Floats]:
    n, d = inputs
    first = theta[..., 0:1] - theta[..., 1:2] * n
    second = theta[..., 2:3] - theta[..., 3:4] * d
    value = np.logaddexp(np.logaddexp(first, second), theta[..., 4:5])
    one, two, three = np.exp(first - value), np.exp(second - value), np.exp(theta[..., 4:5] - value)
    return value, np.stack([one, -n * one, two, -d * two, three], axis=-1)


def _quadratic(theta: Floats, inputs: Inputs) -> tuple[Floats, Floats]:
    x = inputs[0] / LOG10
    powers = np.stack([np.ones_like(x), x, x**2], axis=-1)
    # Below zero there is no log: a search that strays there is sent back by an enormous residual.
    loss = np.maximum(theta @ powers.T, 1e-30)
    return np.log(loss), powers / loss[..., None]


def _log(values: Floats, typical: float) -> Floats:
    logs: Floats = np.log(np.maximum(values, SMALLEST_TERM * typical))
    return logs


def _at(exponents: Floats, inputs: Inputs) -> Floats:
    """Columns 1, N^-alpha, D^-beta."""
    decays = [np.exp(-exponent * one) for exponent, one in zip(exponents, inputs, strict=False)]
    return np.stack([np.ones_like(inputs[0]), *decays], axis=-1)


def _scale(theta: Floats, points: Points, *, a: int, exponent: int, windows: bool = False) -> Floats:
    """exp(a) times the centre to the power of the exponent: the coefficient of the form that is not centred."""
    centre = float(np.log(points.windows if windows else points.parameters).mean())
    coefficient: Floats = np.exp(theta[..., a] + theta[..., exponent] * centre)
    return coefficient


_FREE = (None, None)
_DECAY = (0.0, LARGEST_EXPONENT)

LAWS: Mapping[str, Law] = MappingProxyType(
    {
        law.name: law
        for law in (
            Law(
                name="constant",
                text="L = E",
                count=1,
                terms=_constant,
                bounds=[_FREE],
                exponents=0,
                columns=lambda _, inputs: np.ones((len(inputs[0]), 1)),
                assemble=lambda linear, _, typical: _log(linear, typical),
                natural=lambda theta, _: {"E": np.exp(theta[..., 0])},
            ),
            Law(
                name="power",
                text="L = A N^-alpha",
                count=2,
                terms=_power,
                bounds=[_FREE, _DECAY],
                exponents=1,
                columns=lambda exponents, inputs: _at(exponents, inputs)[:, 1:],
                assemble=lambda linear, exponents, typical: np.array([*_log(linear, typical), *exponents]),
                natural=lambda theta, points: {
                    "A": _scale(theta, points, a=0, exponent=1),
                    "alpha": theta[..., 1],
                },
            ),
            Law(
                name="power with floor",
                text="L = E + A N^-alpha",
                count=3,
                terms=_power_floor,
                bounds=[_FREE, _DECAY, _FREE],
                exponents=1,
                columns=_at,
                assemble=lambda linear, exponents, typical: np.array(
                    [_log(linear[1], typical), exponents[0], _log(linear[0], typical)]
                ),
                natural=lambda theta, points: {
                    "E": np.exp(theta[..., 2]),
                    "A": _scale(theta, points, a=0, exponent=1),
                    "alpha": theta[..., 1],
                },
            ),
            Law(
                name="N and D",
                text="L = E + A N^-alpha + B D^-beta",
                count=5,
                terms=_chinchilla,
                bounds=[_FREE, _DECAY, _FREE, _DECAY, _FREE],
                exponents=2,
                columns=_at,
                assemble=lambda linear, exponents, typical: np.array(
                    [
                        _log(linear[1], typical),
                        exponents[0],
                        _log(linear[2], typical),
                        exponents[1],
                        _log(linear[0], typical),
                    ]
                ),
                natural=lambda theta, points: {
                    "E": np.exp(theta[..., 4]),
                    "A": _scale(theta, points, a=0, exponent=1),
                    "alpha": theta[..., 1],
                    "B": _scale(theta, points, a=2, exponent=3, windows=True),
                    "beta": theta[..., 3],
                },
                uses_windows=True,
            ),
            Law(
                name="quadratic",
                text="L = c0 + c1 x + c2 x^2, x = log10(N / geometric mean of N)",
                count=3,
                terms=_quadratic,
                bounds=[_FREE, _FREE, _FREE],
                exponents=0,
                columns=lambda _, inputs: np.stack(
                    [np.ones_like(inputs[0]), inputs[0] / LOG10, (inputs[0] / LOG10) ** 2], axis=-1
                ),
                assemble=lambda linear, _, __: linear,
                natural=lambda theta, _: {f"c{index}": theta[..., index] for index in range(3)},
            ),
        )
    }
)
"""By name; `isotonic`, which has no formula, is `scalecore_analysis.scaling.isotonic`."""
