from __future__ import annotations

import pytest

from scalecore_torch.memory.correction import (
    MIB,
    Correction,
    MemoryObservation,
    Observations,
    closed_form,
    floor_bytes,
    prior,
)
from scalecore_torch.memory.cuda import CONTEXT, WORKSPACES
from scalecore_torch.training.evaluation_batch import evaluation_is_larger


def test_the_floor_is_weights_gradients_and_two_moments() -> None:
    """16 bytes per parameter for every micro-batch."""
    assert floor_bytes(1000) == 16_000
    assert closed_form(num_parameters=1000, saved_activations=50, micro_batch=0) == 16_000
    assert closed_form(num_parameters=1000, saved_activations=50, micro_batch=2) == 16_000 + 2 * 4 * 50 * 2


def test_permanent_and_temporary_tensors_are_corrected_separately() -> None:
    """Both have a factor, and the process has a constant."""
    correction = Correction(constant=100.0, factor=1.5, factor_of_floor=1.1)
    assert correction.apply(0, floor=0) == 100
    assert correction.apply(3000, floor=1000) == 100 + 3000 + 1100


def test_the_prior_moves_to_measurements() -> None:
    """After some attempts of different shapes, the prediction is within a few percent; before, it was too high."""
    true = Correction(constant=290.0 * MIB, factor=1.12, factor_of_floor=1.02)
    sizes = [(20, 5), (100, 30), (300, 200), (700, 50), (1500, 1200), (4000, 3500)]
    begun = prior("cpu", "default", basis="tensors")
    observed = [
        MemoryObservation(tensors=t * MIB, floor=f * MIB, peak=true.apply(t * MIB, floor=f * MIB)) for t, f in sizes
    ]
    fitted = begun.fitted(Observations.of(observed))
    assert fitted.observations == len(sizes)
    for tensors, floor in ((50, 10), (500, 100), (3000, 2000)):
        peak = true.apply(tensors * MIB, floor=floor * MIB)
        assert begun.apply(tensors * MIB, floor=floor * MIB) > peak
        assert fitted.apply(tensors * MIB, floor=floor * MIB) == pytest.approx(peak, rel=0.03)


def test_without_a_measurement_nothing_moves() -> None:
    """The prior is returned unchanged."""
    begun = prior("cuda", "default", basis="tensors")
    assert begun.fitted(Observations()) is begun


def test_no_fit_predicts_less_than_the_tensors() -> None:
    """Measurements that are far too small, for example of a swapped-out process, do not lower it further."""
    odd = [MemoryObservation(tensors=1000 * MIB, floor=500 * MIB, peak=200 * MIB) for _ in range(50)]
    assert (
        prior("cpu", "default", basis="tensors").fitted(Observations.of(odd)).apply(1000 * MIB, floor=500 * MIB)
        >= 1000 * MIB
    )


def test_an_evaluation_is_larger_than_a_step_of_few_windows_in_few_blocks() -> None:
    """A model without repeated blocks counts as one."""
    assert evaluation_is_larger(windows=512, micro_batch=128, blocks=2)
    assert not evaluation_is_larger(windows=512, micro_batch=128, blocks=4)
    assert not evaluation_is_larger(windows=100, micro_batch=128, blocks=0)


def test_a_replayed_allocator_has_a_narrower_prior() -> None:
    """One outlier moves the prediction less than with an allocator that is only estimated."""
    moved = []
    for basis in ("held", "tensors"):
        begun = prior("cpu", "default", basis=basis)  # type: ignore[arg-type]  # one of the three
        expected = begun.apply(1000 * MIB, floor=100 * MIB)
        odd = MemoryObservation(tensors=1000 * MIB, floor=100 * MIB, peak=expected * 2)
        moved.append(begun.fitted(Observations.of([odd])).apply(1000 * MIB, floor=100 * MIB) / expected)
    assert 1.0 < moved[0] < moved[1] < 2.0


def test_the_context_of_a_gpu_is_part_of_the_closed_form() -> None:
    """A process on CUDA allocates it before the first tensor."""
    assert prior("cuda", "default", basis="closed form").apply(0, floor=0) >= CONTEXT + WORKSPACES
