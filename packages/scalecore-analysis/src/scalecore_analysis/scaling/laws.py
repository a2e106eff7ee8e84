"""The laws: candidate forms of the loss as a function of parameters N and data D, with gradients for the estimator.

A law is evaluated as the log of the predicted loss, at centred logs of N and D, which makes the parameters less
correlated. Sums of terms are log-sum-exp of the logs of the terms, as in Hoffmann et al. (2022, Training
compute-optimal large language models, D.3).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from itertools import chain
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
from attrs import asdict, field, frozen

__all__ = ["LAWS", "Floats", "Law", "Points", "centred"]

Floats = npt.NDArray[np.float64]

LOG10 = float(np.log(10.0))
LARGEST_EXPONENT = 4.0
SMALLEST_TERM = 1e-9
"""Start value, as a share of the typical loss, of a term that the linear solve sets to zero, which has no log."""


@frozen(kw_only=True, eq=False)
class Points:
    """Losses and their predictors, with one entry per independent run, all of shape [runs]."""

    parameters: Floats
    windows: Floats
    """Training windows seen, D; 1 for all runs if unknown."""
    losses: Floats
    weights: Floats = field()
    """Weights of the runs, with a mean of 1."""
    cells: npt.NDArray[np.int64] = field()
    """Index of N, D and configuration: runs of a cell differ only in their seeds and determine the seed variance."""
    budgets: npt.NDArray[np.int64] = field()
    """Index of the size N: 0 for the smallest."""
    clusters: npt.NDArray[np.int64] = field()
    """Index of configuration × seed, the unit of resampling."""
    known: bool = True
    """Whether D is known."""

    @weights.default
    def _alike(self) -> Floats:
        return np.ones(len(self.losses))

    @cells.default
    def _of_n_and_d(self) -> npt.NDArray[np.int64]:
        return self._groups(self.parameters, self.windows)

    @budgets.default
    def _of_sizes(self) -> npt.NDArray[np.int64]:
        return self._groups(self.parameters)

    @clusters.default
    def _each_alone(self) -> npt.NDArray[np.int64]:
        return np.arange(len(self.losses))

    @staticmethod
    def _groups(*columns: Floats) -> npt.NDArray[np.int64]:
        return np.unique(np.stack(columns), axis=1, return_inverse=True)[1].astype(np.int64).reshape(-1)

    def repeated(self, law: Law) -> npt.NDArray[np.int64]:
        """The cells for which this law predicts one loss."""
        return self._groups(self.cells.astype(np.float64), self.windows) if law.uses_windows else self.cells

    def without(self, budget: int) -> Points:
        """All runs except those of one budget."""
        keep, columns = self.budgets != budget, asdict(self, filter=lambda one, _: one.name != "known")
        return Points(**{name: values[keep] for name, values in columns.items()}, known=self.known)


Inputs = tuple[Floats, Floats]
"""Centred logs of N and D, each [runs]."""


def centred(parameters: npt.ArrayLike, windows: npt.ArrayLike, *, of: Points) -> Inputs:
    """Natural logs of N and D, minus the means of the logs of the fitted points."""
    logs = (np.log(np.asarray(parameters, np.float64)), np.log(np.asarray(windows, np.float64)))
    return logs[0] - np.log(of.parameters).mean(), logs[1] - np.log(of.windows).mean()


@frozen(kw_only=True)
class Law:
    """One form. `terms` evaluates parameters [..., count] at inputs: log of the loss [..., runs], its gradient with
    respect to the parameters [..., runs, count].
    """

    name: str
    text: str
    names: tuple[str, ...]
    """The usual names of the parameters in papers, in the order of `terms`."""
    terms: Callable[[Floats, Inputs], tuple[Floats, Floats]]
    bounds: Sequence[tuple[float | None, float | None]]
    exponents: int
    """Number of exponents; given the exponents, the law is linear in its other parameters."""
    columns: Callable[[Floats, Inputs], Floats]
    """For exponents [exponents]: the columns [runs, linear] of the linear part."""
    assemble: Callable[[Floats, Floats, float], Floats]
    """Parameters from linear coefficients, exponents and a typical loss."""
    natural: Callable[[Floats, Points], dict[str, Floats]]
    """The parameters in the usual form of papers, from fitted ones [..., count]."""
    uses_windows: bool = False

    @property
    def count(self) -> int:
        """Number of parameters of the mean."""
        return len(self.names)


def _constant(theta: Floats, inputs: Inputs) -> tuple[Floats, Floats]:
    level = theta[..., :1] + 0 * inputs[0]
    return level, np.ones((*level.shape, 1))


def _power(theta: Floats, inputs: Inputs) -> tuple[Floats, Floats]:
    n = inputs[0]
    value = theta[..., 0:1] - theta[..., 1:2] * n
    return value, np.stack([np.ones_like(value), np.broadcast_to(-n, value.shape)], axis=-1)


def _sum(theta: Floats, inputs: Inputs) -> tuple[Floats, Floats]:
    """Terms that decay with N, then D, and a floor: log coefficient and exponent of each term, log of the floor."""
    pairs = range(theta.shape[-1] // 2)
    decays = [theta[..., 2 * at : 2 * at + 1] - theta[..., 2 * at + 1 : 2 * at + 2] * inputs[at] for at in pairs]
    floor = theta[..., -1:]
    value = reduce(np.logaddexp, [*decays, floor])
    shares = [np.exp(decay - value) for decay in decays]
    slopes = [slope for share, x in zip(shares, inputs, strict=False) for slope in (share, -x * share)]
    return value, np.stack([*slopes, np.exp(floor - value)], axis=-1)


def _quadratic(theta: Floats, inputs: Inputs) -> tuple[Floats, Floats]:
    x = inputs[0] / LOG10
    powers = np.stack([np.ones_like(x), x, x**2], axis=-1)
    # Losses below zero have no log; the clipped value causes a huge residual, which drives the search back.
    loss = np.maximum(theta @ powers.T, 1e-30)
    return np.log(loss), powers / loss[..., None]


def _log(values: Floats, typical: float) -> Floats:
    logs: Floats = np.log(np.maximum(values, SMALLEST_TERM * typical))
    return logs


def _at(exponents: Floats, inputs: Inputs) -> Floats:
    """Columns 1, N^-alpha, D^-beta."""
    decays = [np.exp(-exponent * one) for exponent, one in zip(exponents, inputs, strict=False)]
    return np.stack([np.ones_like(inputs[0]), *decays], axis=-1)


def _assembled(linear: Floats, exponents: Floats, typical: float) -> Floats:
    """Parameters of `_sum` from the coefficients of `_at`."""
    floor, *coefficients = _log(linear, typical)
    return np.array([*chain.from_iterable(zip(coefficients, exponents, strict=True)), floor])


def _decays(theta: Floats, points: Points) -> dict[str, Floats]:
    """Coefficient and exponent of each term; the coefficient is converted to the form without centring."""
    found: dict[str, Floats] = {}
    terms = (("A", "alpha", points.parameters), ("B", "beta", points.windows))
    for at, (coefficient, name, values) in enumerate(terms[: theta.shape[-1] // 2]):
        exponent = theta[..., 2 * at + 1]
        found |= {coefficient: np.exp(theta[..., 2 * at] + exponent * np.log(values).mean()), name: exponent}
    return found


def _with_floor(theta: Floats, points: Points) -> dict[str, Floats]:
    return {"E": np.exp(theta[..., -1]), **_decays(theta, points)}


_FREE = (None, None)
_DECAY = (0.0, LARGEST_EXPONENT)

LAWS: Mapping[str, Law] = MappingProxyType(
    {
        law.name: law
        for law in (
            Law(
                name="constant",
                text="L = E",
                names=("E",),
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
                names=("A", "alpha"),
                terms=_power,
                bounds=[_FREE, _DECAY],
                exponents=1,
                columns=lambda exponents, inputs: _at(exponents, inputs)[:, 1:],
                assemble=lambda linear, exponents, typical: np.array([*_log(linear, typical), *exponents]),
                natural=_decays,
            ),
            Law(
                name="power with floor",
                text="L = E + A N^-alpha",
                names=("A", "alpha", "E"),
                terms=_sum,
                bounds=[_FREE, _DECAY, _FREE],
                exponents=1,
                columns=_at,
                assemble=_assembled,
                natural=_with_floor,
            ),
            Law(
                name="N and D",
                text="L = E + A N^-alpha + B D^-beta",
                names=("A", "alpha", "B", "beta", "E"),
                terms=_sum,
                bounds=[_FREE, _DECAY, _FREE, _DECAY, _FREE],
                exponents=2,
                columns=_at,
                assemble=_assembled,
                natural=_with_floor,
                uses_windows=True,
            ),
            Law(
                name="quadratic",
                text="L = c0 + c1 x + c2 x^2, x = log10(N / geometric mean of N)",
                names=("c0", "c1", "c2"),
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
"""Laws by name; `isotonic`, which has no formula, is in `scalecore_analysis.scaling.isotonic`."""
