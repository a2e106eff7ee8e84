"""Predicts the memory of a process from the tensors of a training step, or from a closed form without a trace.

This module does not import torch, since the driver uses it. `scalecore_torch.memory.step_trace` measures the tensors.

A process uses more memory than its tensors: the interpreter with torch, workspaces of kernels, and freed blocks that
the allocator keeps. The allocators of glibc and of CUDA are replayed. The tracer measures the memory of a process
before its first tensor (`scalecore_torch.memory.footprint`). The rest is a constant and two factors, for each device,
precision and allocator. They start from priors and are fitted to the measured peak of every attempt of the study.
Weights, gradients and moments are never freed and have a separate factor near 1; tensors that are freed fragment the
memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from attrs import define, field, frozen

from scalecore.api.readings import Device
from scalecore_torch.memory.cuda import CONTEXT, WORKSPACES

Allocator = Literal["default", "returning"]
"""`returning`: freed blocks of a mebibyte and more are returned to the system (see `memory.allocation`)."""

Basis = Literal["held", "tensors", "closed form"]
"""The input of a prediction: the allocator's memory for the traced tensors of a step, these tensors alone, or a
family's closed form."""

MIB = 1024**2
BASE = 300 * MIB
"""Assumed memory of a process before its first tensor, until it is measured."""
BASE_OF_CUDA_BUILD = 450 * MIB
"""The same for a fork of the fork server with torch built for CUDA; plans use it before any measurement."""
BYTES_PER_PARAMETER = 8
"""Weights and gradients in float32."""
STATE_OF_ADAMW = 8
"""Bytes per parameter: two moments in float32."""
BYTES_PER_ACTIVATION = 4
ACTIVATION_FACTOR = 2.0
END_OF_TRIAL = 35 * MIB
"""Memory of a process on the CPU at the end of a trial, for intervals of metrics, predictions and weights; a smoke step
does not reach it."""
SPREAD_OF_PEAKS = 0.05
"""Relative scatter of the measured peaks of one shape: the uncertainty of a single measurement."""
SPREAD_OF_PRIOR = (100.0 * MIB, 0.2, 0.05)
"""Standard deviations of the prior of constant and factors."""
SPREAD_OF_REPLAYED = (30.0 * MIB, 0.05, 0.03)
"""The same for a replayed allocator: 26 shapes were within a tenth of that prior."""


def floor_bytes(num_parameters: int, *, state: float | None = None) -> int:
    """Bytes of weights, gradients and optimizer state, which do not depend on the micro-batch.

    `state` is the optimizer's state in bytes per parameter, by default AdamW's.
    """
    return round((BYTES_PER_PARAMETER + (STATE_OF_ADAMW if state is None else state)) * num_parameters)


def closed_form(*, num_parameters: int, saved_activations: int, micro_batch: int, state: float | None = None) -> int:
    """Approximate bytes of the tensors of a step; `saved_activations` is the count of numbers kept per window, `state`
    as in `floor_bytes`.

    The factor of 2 on activations covers tensors that a family's closed form does not count, such as temporaries and
    gradients of activations: without it, measured peaks of twelve CPU shapes were 1.15 to 1.91 times the sum.
    """
    activations = ACTIVATION_FACTOR * BYTES_PER_ACTIVATION * saved_activations * micro_batch
    return floor_bytes(num_parameters, state=state) + int(activations)


@frozen(kw_only=True)
class MemoryObservation:
    """A finished attempt: bytes of its tensors, or of the allocator's memory for them; the part that is never freed
    (`floor_bytes`); and the measured peak of its process."""

    tensors: int
    floor: int
    peak: int


@define
class Observations:
    """Measurements of attempts of one group, as the sums that a fit needs, so that adding one takes constant time."""

    count: int = 0
    _products: list[list[float]] = field(factory=lambda: [[0.0] * 3 for _ in range(3)])
    """Weighted products of features with features."""
    _moments: list[float] = field(factory=lambda: [0.0] * 3)
    """Weighted products of features with peaks."""

    @classmethod
    def of(cls, observed: Iterable[MemoryObservation]) -> Observations:
        """The sums over all of these."""
        result = cls()
        for one in observed:
            result.add(one)
        return result

    def add(self, one: MemoryObservation) -> None:
        """Add a measurement; residuals are relative to the measured peak."""
        features, peak = _features(one.tensors, one.floor), float(one.peak)
        weight = 1 / (SPREAD_OF_PEAKS * peak) ** 2
        self.count += 1
        for row, first in enumerate(features):
            self._moments[row] += weight * first * peak
            for column, second in enumerate(features):
                self._products[row][column] += weight * first * second

    def moved(self, mean: Sequence[float], spread: Sequence[float]) -> list[float]:
        """The posterior parameters, from a prior with this mean and these standard deviations and from the peaks."""
        import numpy as np

        products, trust = np.array(self._products), np.diag(1 / np.array(spread) ** 2)
        residuals = np.array(self._moments) - products @ np.array(mean)
        moved: list[float] = (np.array(mean) + np.linalg.solve(products + trust, residuals)).tolist()
        return moved


@frozen(kw_only=True)
class Correction:
    """peak = constant + factor · (tensors - floor) + factor_of_floor · floor, in bytes."""

    constant: float
    factor: float
    factor_of_floor: float
    spread: tuple[float, float, float] = SPREAD_OF_PRIOR
    """Standard deviations of the three parameters."""
    observations: int = 0

    def apply(self, tensors: int, *, floor: int) -> int:
        """The predicted peak of a process with `tensors` bytes of tensors, of which `floor` are never freed."""
        return round(sum(p * x for p, x in zip(self._parameters, _features(tensors, floor), strict=True)))

    def fitted(self, observed: Observations) -> Correction:
        """The correction fitted to measurements: Bayesian linear regression with this correction as the prior's mean.

        With few observations the prior dominates, with many the measurements.
        """
        if not observed.count:
            return self
        constant, factor, of_floor = observed.moved(self._parameters, self.spread)
        # A process cannot need less memory than its tensors, whatever outliers suggest.
        return Correction(
            constant=max(constant, 0.0),
            factor=max(factor, 1.0),
            factor_of_floor=max(of_floor, 1.0),
            spread=self.spread,
            observations=observed.count,
        )

    @property
    def _parameters(self) -> tuple[float, float, float]:
        return (self.constant, self.factor, self.factor_of_floor)


def prior(device: Device, allocator: Allocator, *, basis: Basis) -> Correction:
    """The initial correction of a study: close to measurements for a replayed allocator, else conservative.

    A process on the CPU is assumed to need `BASE` before its first tensor; the caller adds the difference that the
    tracer measured.

    CPU with glibc: the allocator is replayed (`scalecore_torch.memory.heap`). A process has some 50 MiB in addition to
    this and its base: code first used in training, and Python objects (`benchmarks/memory.py`). Another C library is
    assumed to keep up to half of the freed memory. CUDA, not measured: the context and workspaces of cuBLAS, and blocks
    of the caching allocator, which is replayed for a CUDA trace (`scalecore_torch.memory.cuda`); in a CPU trace,
    activations of PatchTST were 0.90 to 1.22 times those of CUDA. MPS, not measured: its allocator keeps much freed
    memory.
    """
    if basis == "closed form":
        constant = BASE + 100.0 * MIB if device == "cpu" else 700.0 * MIB
        return Correction(constant=constant, factor=1.0, factor_of_floor=1.0)
    if device == "cuda" and basis == "held":
        return Correction(constant=float(CONTEXT + WORKSPACES), factor=1.05, factor_of_floor=1.0)
    if device == "cuda":
        return Correction(constant=700.0 * MIB, factor=1.15, factor_of_floor=1.08)
    if device == "mps":
        return Correction(constant=700.0 * MIB, factor=2.0, factor_of_floor=2.0)
    if basis == "held":
        return Correction(
            constant=BASE + 15.0 * MIB + END_OF_TRIAL, factor=1.0, factor_of_floor=1.0, spread=SPREAD_OF_REPLAYED
        )
    if allocator == "returning":
        return Correction(constant=BASE + 170.0 * MIB, factor=1.3, factor_of_floor=1.05)
    return Correction(constant=BASE + 100.0 * MIB, factor=1.45, factor_of_floor=1.05)


def closed_form_range(device: Device, *, cuda_build: bool) -> tuple[Correction, Correction]:
    """Lower and upper bound of the correction of a closed form.

    CPU: for 20 PatchTST shapes of 80,000 to 230 million parameters, at micro-batches of 1, 16 and 256, the traced
    figure was 0.66 to 1.07 times the closed form. In addition, a process needs 250 to 300 MiB before its first tensor,
    or 400 to 670 MiB with torch built for CUDA: a fork the least, a fresh interpreter the most. Other devices, not
    measured: up to the priors of traced tensors.
    """
    least, most = (450.0 * MIB, 800.0 * MIB) if cuda_build and device == "cpu" else (300.0 * MIB, 450.0 * MIB)
    low = Correction(constant=least, factor=0.45, factor_of_floor=1.0)
    if device == "cpu":
        return low, Correction(constant=most, factor=1.0, factor_of_floor=1.1)
    return low, prior(device, "default", basis="tensors")


def _features(tensors: int, floor: int) -> tuple[float, float, float]:
    return (1.0, float(max(0, tensors - floor)), float(floor))
