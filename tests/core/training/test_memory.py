from __future__ import annotations

import pytest

from scalecore.training.memory import KNEE, MIB, Correction, Observation, closed_form, floor_bytes, prior


def test_the_floor_is_weights_gradients_and_two_moments() -> None:
    """16 bytes a parameter, whatever the micro-batch is."""
    assert floor_bytes(1000) == 16_000
    assert closed_form(num_parameters=1000, saved_activations=50, micro_batch=0) == 16_000
    assert closed_form(num_parameters=1000, saved_activations=50, micro_batch=2) == 16_000 + 2 * 4 * 50 * 2


def test_large_tensors_are_corrected_by_a_smaller_factor() -> None:
    """Above the knee blocks are given back to the system."""
    correction = Correction(constant=100.0, factor=1.5, factor_above=1.1)
    assert correction.apply(0) == 100
    assert correction.apply(KNEE) == 100 + round(1.5 * KNEE)
    assert correction.apply(2 * KNEE) == 100 + round(1.5 * KNEE + 1.1 * KNEE)


def test_the_prior_moves_to_what_was_measured() -> None:
    """After some attempts of different shapes, the next one is predicted within a few percent; before it was above."""
    true = Correction(constant=290.0 * MIB, factor=1.12, factor_above=1.05)
    sizes = [20 * MIB, 100 * MIB, 300 * MIB, 700 * MIB, 1500 * MIB, 4000 * MIB]
    begun = prior("cpu", "default", traced=True)
    fitted = begun.fitted([Observation(tensors=size, peak=true.apply(size)) for size in sizes])
    assert fitted.observations == len(sizes)
    for size in (50 * MIB, 500 * MIB, 3000 * MIB):
        assert begun.apply(size) > true.apply(size)
        assert fitted.apply(size) == pytest.approx(true.apply(size), rel=0.03)


def test_without_a_measurement_nothing_moves() -> None:
    """The prior is returned as it is."""
    begun = prior("cuda", "default", traced=True)
    assert begun.fitted([]) is begun


def test_no_fit_predicts_less_than_the_tensors_take() -> None:
    """Measurements that are far too small, of a process that was mostly swapped out say, do not make it optimistic."""
    odd = [Observation(tensors=1000 * MIB, peak=200 * MIB) for _ in range(50)]
    assert prior("cpu", "default", traced=True).fitted(odd).apply(1000 * MIB) >= 1000 * MIB
