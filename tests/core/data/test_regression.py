"""Logistic and linear regression: zero gradient at the solution, and recovery of known coefficients."""

from __future__ import annotations

import math

import numpy as np
import pytest

from scalecore.data.regression import (
    applied,
    cross_entropies,
    linear_regression,
    logistic_regression,
    probabilities,
    standardised,
)


def drawn(*, rows: int, outputs: int, seed: int = 5) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Correlated features, true coefficients, and labels drawn from the probabilities they give."""
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(rows, 3)) @ np.array([[1.0, 0.8, 0.0], [0.0, 0.6, 0.3], [0.0, 0.0, 1.0]])
    truth = generator.normal(size=(4, outputs))
    chances = probabilities(applied(truth, x))
    edges = 1 - chances if outputs == 1 else chances.cumsum(axis=1)[:, :-1]
    return x, truth, (generator.random((rows, 1)) > edges).sum(axis=1)


@pytest.mark.parametrize("outputs", [1, 2, 4])
def test_the_gradient_is_zero_at_the_logistic_solution(outputs: int) -> None:
    """Each derivative of the penalised loss, summed row by row, is zero."""
    x, _, labels = drawn(rows=200, outputs=outputs)
    found = logistic_regression(x, labels, outputs=outputs, penalty=0.03)
    assert found is not None
    for column in range(outputs):
        for place in range(4):
            total = 0.0
            for row in range(200):
                logits = [
                    found[0, one] + sum(x[row, feature] * found[1 + feature, one] for feature in range(3))
                    for one in range(outputs)
                ]
                if outputs == 1:
                    chance, hit = 1 / (1 + math.exp(-logits[0])), labels[row] == 1
                else:
                    chance = math.exp(logits[column]) / sum(math.exp(logit) for logit in logits)
                    hit = labels[row] == column
                total += (chance - hit) * (x[row, place - 1] if place else 1.0)
            derivative = total / 200 + (0.03 * found[place, column] if place else 0.0)
            assert abs(derivative) < 1e-7


@pytest.mark.parametrize("outputs", [1, 3])
def test_known_coefficients_are_recovered(outputs: int) -> None:
    """From many labels drawn from a logistic model; for softmax only differences matter."""
    x, truth, labels = drawn(rows=40_000, outputs=outputs)
    found = logistic_regression(x, labels, outputs=outputs, penalty=1e-6)
    assert found is not None
    if outputs > 1:
        found, truth = found - found.mean(axis=1, keepdims=True), truth - truth.mean(axis=1, keepdims=True)
    assert np.abs(found - truth).max() < 0.08


def test_separable_labels_stay_finite() -> None:
    """The penalty bounds coefficients that would otherwise grow without limit."""
    x = np.linspace(-1, 1, 100)[:, None]
    found = logistic_regression(x, (x[:, 0] > 0).astype(np.int64), outputs=1, penalty=1e-4)
    assert found is not None
    assert 10 < found[1, 0] < 1000
    assert abs(found[0, 0]) < 1e-6


@pytest.mark.parametrize("penalty", [1e-3, 1e-9])
def test_rare_and_separable_labels_are_fitted_too(penalty: float) -> None:
    """Three windows of one class among thousands, separated by one of many features, for any penalty above 0."""
    x = np.random.default_rng(1).normal(size=(3000, 8))
    x[:3, 0] += 12
    found = logistic_regression(x, (np.arange(3000) < 3).astype(np.int64), outputs=1, penalty=penalty)
    assert found is not None
    assert applied(found, x)[:3].min() > applied(found, x)[3:].max()


def test_values_that_overflow_have_no_fit() -> None:
    """The result is None, not arbitrary coefficients."""
    x, _, labels = drawn(rows=100, outputs=1)
    with np.errstate(all="ignore"):
        assert logistic_regression(x * 1e200, labels, outputs=1, penalty=0.01) is None


def test_equal_features_share_their_coefficient() -> None:
    """Ridge has one solution where unpenalised fits have many."""
    x, _, labels = drawn(rows=300, outputs=1)
    twice = np.column_stack([x, x])
    found = logistic_regression(twice, labels, outputs=1, penalty=0.01)
    linear = linear_regression(twice, labels.astype(np.float64), penalty=0.01)
    assert found is not None
    np.testing.assert_allclose(found[1:4], found[4:], atol=1e-6)
    np.testing.assert_allclose(linear[1:4], linear[4:], atol=1e-9)


def test_the_linear_solution_is_that_of_rows_appended_for_the_penalty() -> None:
    """Ridge is least squares with an additional row per coefficient: sqrt(n * penalty) on the diagonal, label 0."""
    generator = np.random.default_rng(2)
    x, labels = generator.normal(3.0, 1.0, size=(80, 3)), generator.normal(5.0, 1.0, 80)
    found = linear_regression(x, labels, penalty=0.2)
    rows = np.column_stack([np.zeros(3), np.sqrt(80 * 0.2) * np.eye(3)])
    design = np.concatenate([np.column_stack([np.ones(80), x]), rows])
    expected = np.linalg.lstsq(design, np.concatenate([labels, np.zeros(3)]), rcond=None)[0]
    np.testing.assert_allclose(found[:, 0], expected, atol=1e-10)


def test_standardised_uses_only_the_fitted_rows() -> None:
    """Mean 0 and deviation 1 in these rows, whatever follows; constants are dropped."""
    x = np.random.default_rng(2).normal(7.0, 3.0, size=(50, 3))
    x[:30, 1] = 0.1
    scaled = standardised(x, fit_rows=30)
    assert scaled.shape == (50, 2)
    np.testing.assert_allclose(scaled[:30].mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(scaled[:30].std(axis=0), 1, atol=1e-12)
    x[30:] *= 100
    np.testing.assert_array_equal(standardised(x, fit_rows=30)[:30], scaled[:30])


def test_losses_and_probabilities_are_exact_far_out() -> None:
    """Large logits do not overflow, and the small loss of the right class stays exact."""
    logits, labels = np.array([[800.0], [-800.0], [0.0]]), np.array([1, 1, 0])
    np.testing.assert_allclose(cross_entropies(logits, labels), [0, 800, math.log(2)])
    np.testing.assert_allclose(probabilities(logits)[:, 0], [1, 0, 0.5])
    many = np.array([[800.0, 0.0, -800.0], [0.0, 0.0, -np.inf]])
    np.testing.assert_allclose(cross_entropies(many, np.array([1, 0])), [800, math.log(2)])
    np.testing.assert_allclose(probabilities(many), [[1, 0, 0], [0.5, 0.5, 0]])
