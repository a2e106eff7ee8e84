"""From the tensors of a training step to the memory of its process; and a closed form where steps cannot be traced.

Nothing here imports torch: the driver uses it. `scalecore_torch.memory.step_trace` says how large the tensors are.

What a process uses is more than its tensors: the interpreter with torch, workspaces of kernels, and freed blocks that
the allocator keeps. What the allocators of glibc and of CUDA keep is replayed; what a process takes before its first
tensor is measured by the tracer (`scalecore_torch.memory.footprint`); the rest is a constant and two factors, for each
device, precision and allocator. They begin with priors and are fitted to the measured peak of every attempt of the
study. Weights, gradients and moments stay where they are and have a factor of their own, near 1; what comes and goes
leaves holes behind.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from attrs import define, field, frozen

from scalecore.api.readings import Device
from scalecore_torch.memory.cuda import CONTEXT, WORKSPACES

Allocator = Literal["default", "returning"]
"""`returning`: blocks of a mebibyte and more go back to the system when freed (see `execution.allocation`)."""

Basis = Literal["held", "tensors", "closed form"]
"""What a prediction starts from: what the allocator holds for the tensors of a step as traced, these tensors alone, or
a family's closed form."""

MIB = 1024**2
BASE = 300 * MIB
"""What a process is taken to need before its first tensor where nobody has measured it."""
BASE_OF_CUDA_BUILD = 450 * MIB
"""The same where torch is built for CUDA, a fork of the fork server; plans say so before anything is measured."""
BYTES_PER_PARAMETER = 8
"""Weights and gradients in float32."""
STATE_OF_ADAMW = 8
"""Bytes per parameter: two moments in float32."""
BYTES_PER_ACTIVATION = 4
ACTIVATION_FACTOR = 2.0
END_OF_TRIAL = 35 * MIB
"""What a process on the CPU takes at the end of a trial, for intervals of metrics, predictions and weights; a smoke
step does not come to it."""
SPREAD_OF_PEAKS = 0.05
"""Measured peaks of one shape scatter by about this share: how far a single measurement is believed."""
SPREAD_OF_PRIOR = (100.0 * MIB, 0.2, 0.05)
"""How far constant and factors may be from the prior before measurements must insist."""
SPREAD_OF_REPLAYED = (30.0 * MIB, 0.05, 0.03)
"""The same where the allocator is replayed: 26 shapes lay within a tenth of that prior."""


def floor_bytes(num_parameters: int, *, state: float | None = None) -> int:
    """Weights, gradients and what the optimizer keeps: what no micro-batch removes.

    `state` are the bytes per parameter of the latter, by default those of AdamW.
    """
    return round((BYTES_PER_PARAMETER + (STATE_OF_ADAMW if state is None else state)) * num_parameters)


def closed_form(*, num_parameters: int, saved_activations: int, micro_batch: int, state: float | None = None) -> int:
    """Bytes of the tensors of a step, roughly; `saved_activations` is the count of numbers kept per window, `state`
    as in `floor_bytes`.

    The factor of 2 on activations covers what a family's closed form does not count, such as temporary tensors and
    gradients of activations: without it, measured peaks of twelve CPU shapes were 1.15 to 1.91 times the sum.
    """
    activations = ACTIVATION_FACTOR * BYTES_PER_ACTIVATION * saved_activations * micro_batch
    return floor_bytes(num_parameters, state=state) + int(activations)


@frozen(kw_only=True)
class MemoryObservation:
    """An attempt that ended by itself: bytes of its tensors, or of what the allocator holds for them, those of them
    that stay (`floor_bytes`), and the measured peak of its process."""

    tensors: int
    floor: int
    peak: int


@define
class Observations:
    """What attempts of one kind measured, as the sums that a fit needs: adding one costs the same however many."""

    count: int = 0
    _products: list[list[float]] = field(factory=lambda: [[0.0] * 3 for _ in range(3)])
    """Of features with features, weighted."""
    _moments: list[float] = field(factory=lambda: [0.0] * 3)
    """Of features with peaks, weighted."""

    @classmethod
    def of(cls, observed: Iterable[MemoryObservation]) -> Observations:
        """All of these."""
        result = cls()
        for one in observed:
            result.add(one)
        return result

    def add(self, one: MemoryObservation) -> None:
        """Residuals count relative to the measured peak."""
        features, peak = _features(one.tensors, one.floor), float(one.peak)
        weight = 1 / (SPREAD_OF_PEAKS * peak) ** 2
        self.count += 1
        for row, first in enumerate(features):
            self._moments[row] += weight * first * peak
            for column, second in enumerate(features):
                self._products[row][column] += weight * first * second

    def moved(self, mean: Sequence[float], spread: Sequence[float]) -> list[float]:
        """The parameters nearest to `mean`, from which each may be as far as `spread` says, and to the peaks."""
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
    """How far each of the three may be from what is told here."""
    observations: int = 0

    def apply(self, tensors: int, *, floor: int) -> int:
        """The predicted peak of a process whose tensors need that much, `floor` of it all the time."""
        return round(sum(p * x for p, x in zip(self._parameters, _features(tensors, floor), strict=True)))

    def fitted(self, observed: Observations) -> Correction:
        """This one, moved towards what was measured: Bayesian linear regression with this one as the prior's mean.

        With few observations the prior speaks, with many they do.
        """
        if not observed.count:
            return self
        constant, factor, of_floor = observed.moved(self._parameters, self.spread)
        # Less memory than the tensors need is impossible, whatever a few odd measurements say.
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
    """Where a study begins: near what was measured where the allocator is replayed, else on the safe side of it.

    A process on the CPU is taken to need `BASE` before its first tensor; the caller adds what the tracer measured more.

    CPU with glibc: what its allocator holds is replayed (`scalecore_torch.memory.heap`), and a process has some 50
    MiB beside that and its base: code that is used first in training, and Python's objects (`benchmarks/memory.py`).
    With another C library: it is taken to keep up to half of what comes and goes. CUDA, not measured: the context and
    workspaces of cuBLAS, and blocks that the caching allocator holds, which are replayed where the trace is one of
    CUDA (`scalecore_torch.memory.cuda`); traced as on the CPU, activations of PatchTST came to 0.90 to 1.22 times
    those of CUDA. MPS, not measured: its allocator is known to keep much.
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
    """Between which two a trial lies whose closed form is corrected by `prior`.

    CPU: for 20 PatchTST shapes of 80,000 to 230 million parameters, at micro-batches of 1, 16 and 256, the traced
    figure was 0.66 to 1.07 times the closed form. Beside that a process takes 250 to 300 MiB before its first tensor,
    400 to 670 MiB with a torch that is built for CUDA: a fork the least, a fresh interpreter the most. Elsewhere, not
    measured: up to the priors of traced tensors.
    """
    least, most = (450.0 * MIB, 800.0 * MIB) if cuda_build and device == "cpu" else (300.0 * MIB, 450.0 * MIB)
    low = Correction(constant=least, factor=0.45, factor_of_floor=1.0)
    if device == "cpu":
        return low, Correction(constant=most, factor=1.0, factor_of_floor=1.1)
    return low, prior(device, "default", basis="tensors")


def _features(tensors: int, floor: int) -> tuple[float, float, float]:
    return (1.0, float(max(0, tensors - floor)), float(floor))
