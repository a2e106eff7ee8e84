from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from sklearn.isotonic import IsotonicRegression

from scalecore_analysis.scaling.isotonic import non_increasing, null_of, statistics
from scalecore_analysis.scaling.power import Design, truth_of
from scalecore_analysis.scaling.verdict import SIMULATED, ScalingVerdict, classify, rates, smallest_effect


def verdict(means: list[float], *, seeds: int, spread: float, margin: float) -> ScalingVerdict:
    """The verdict on one set of means."""
    code = classify(
        np.array([means]),
        seeds=[seeds] * len(means),
        variance=np.array([spread**2]),
        margin=np.array([margin]),
        null=null_of([seeds] * len(means), draws=20_000),
    )
    return SIMULATED[int(code[0])]


def test_the_non_increasing_fit_is_isotonic_regression() -> None:
    """Equals scikit-learn's fit, over random means and weights."""
    generator = np.random.default_rng(0)
    means, weights = generator.normal(size=(40, 6)), generator.uniform(0.5, 2, 6)
    reference = IsotonicRegression(increasing=False)
    expected = [reference.fit(range(6), row, sample_weight=weights).predict(range(6)) for row in means]
    assert non_increasing(means, weights) == pytest.approx(np.array(expected), abs=1e-12)


@pytest.mark.parametrize(
    ("budgets", "seeds", "equal", "ordered"),
    [(3, 3, 5.7, 7.2), (3, 5, 4.6, 5.65), (3, 10, 4.15, 5.0), (4, 3, 6.2, 9.1), (4, 5, 5.3, 7.4), (4, 10, 4.85, 6.7)],
)
def test_critical_values(budgets: int, seeds: int, equal: float, ordered: float) -> None:
    """Of both statistics at 5 %, compared with an independent simulation."""
    assert null_of([seeds] * budgets).critical(0.05) == pytest.approx((equal, ordered), rel=0.025)


def test_p_values_agree_with_critical_values() -> None:
    """At the critical value of 5 % the p-value is 5 %, and it is never 0."""
    null = null_of([4, 4, 4])
    assert null.p_values(*null.critical(0.05)) == pytest.approx((0.05, 0.05), abs=1e-4)
    assert null.p_values(1e9, 1e9) == (1 / 100_001, 1 / 100_001)


def test_statistics_of_falling_and_rising_means() -> None:
    """T_B is 0 for falling means, T_A for rising means."""
    falling, rising = np.array([[3.0, 2.0, 1.0]]), np.array([[1.0, 2.0, 3.0]])
    variance = np.array([1.0])
    assert [float(one[0]) for one in statistics(falling, seeds=[2, 2, 2], variance=variance)] == [4.0, 0.0]
    assert [float(one[0]) for one in statistics(rising, seeds=[2, 2, 2], variance=variance)] == [0.0, 4.0]


def test_clear_cases() -> None:
    """Falling means hold, rising ones are violated, differences below the margin are flat, others inconclusive."""
    assert verdict([0.50, 0.45, 0.42], seeds=5, spread=0.005, margin=0.005) is ScalingVerdict.HOLDS
    assert verdict([0.50, 0.45, 0.47], seeds=5, spread=0.005, margin=0.005) is ScalingVerdict.VIOLATED
    assert verdict([0.500, 0.501, 0.4995], seeds=20, spread=0.002, margin=0.005) is ScalingVerdict.FLAT
    assert verdict([0.500, 0.498, 0.501], seeds=3, spread=0.005, margin=0.005) is ScalingVerdict.INCONCLUSIVE


def test_a_rise_within_the_margin_is_flat_and_not_violated() -> None:
    """For any number of seeds, because the margin defines the relevant difference."""
    assert verdict([0.500, 0.501, 0.502], seeds=200, spread=0.002, margin=0.005) is ScalingVerdict.FLAT


def test_a_fall_with_a_step_that_may_be_worse_does_not_hold() -> None:
    """The means are not equal, but the upper bound of the last step exceeds the margin."""
    assert verdict([0.60, 0.50, 0.505], seeds=3, spread=0.02, margin=0.01) is ScalingVerdict.INCONCLUSIVE


@pytest.mark.parametrize("budgets", [3, 4, 6])
@pytest.mark.parametrize("seeds", [3, 5, 10])
@pytest.mark.parametrize("margin", [0.5, 1.0, 2.0])
def test_g14_a_flat_truth_is_called_holds_or_violated_in_at_most_5_percent(
    budgets: int, seeds: int, margin: float
) -> None:
    """Each of the two verdicts, over 40,000 simulated studies per design."""
    found = rates([0.0] * budgets, seeds=seeds, margin=margin, sets=40_000)
    assert found.holds <= 0.05
    assert found.violated <= 0.05


@pytest.mark.parametrize("budgets", [3, 5])
def test_error_rates_are_robust_to_unequal_spreads(budgets: int) -> None:
    """If the spread differs by a factor of three between the ends, error rates stay within one percentage point."""
    spreads = np.linspace(1, 3, budgets)
    for order in (spreads, spreads[::-1]):
        found = rates([0.0] * budgets, seeds=5, spreads=order.tolist(), margin=1.0, sets=40_000)
        assert found.holds <= 0.05
        assert found.violated <= 0.055


def test_power_grows_with_seeds_and_effect() -> None:
    """A fall of two spreads per budget is detected with three seeds; half a spread needs many more."""
    design = Design(budgets=3, margin=1.0)
    assert design.rates("falling", 2.0, seeds=3)[0] > 0.8
    assert design.seeds_for("falling", 2.0) == "3"
    needed = int(design.seeds_for("falling", 0.5))
    assert 12 <= needed <= 22
    assert design.rates("falling", 0.5, seeds=needed)[0] >= 0.8
    # Far within what matters: with many seeds it is flat, and never called anything else.
    assert design.seeds_for("falling", 0.05) == "more than 200"


METHODS = Path(__file__).parents[2] / "docs" / "methods.md"


TRUTHS = {
    "flat": ("flat", 1.0),
    "falling 1": ("falling", 1.0),
    "falling 2": ("falling", 2.0),
    "rising": ("rising at the end", 1.0),
}


def documented() -> tuple[list[str], list[list[str]]]:
    """The head and the rows of the table of rates."""
    text = METHODS.read_text(encoding="utf-8")
    (table,) = re.findall(r"^\| (budgets \| seeds \| flat: .*?) \|\n\|[-|]+\|\n((?:\|.*\|\n)+)", text, re.MULTILINE)
    return table[0].split(" | ")[2:], [row.strip("| ").split(" | ") for row in table[1].splitlines()]


def test_the_documented_rates_match_the_code() -> None:
    """Every row of the table, to the precision of 20,000 simulated studies."""
    head, rows = documented()
    assert len(head) == 8
    assert len(rows) == 6
    for budgets, seeds, *shares in rows:
        name, found = "", None
        for column, share in zip(head, shares, strict=True):
            truth, _, verdict = column.rpartition(": ")
            if truth:
                name, step = TRUTHS[truth]
                found = rates(truth_of(name, step, int(budgets)), seeds=int(seeds), margin=1.0, sets=20_000)
            assert float(share) == pytest.approx(getattr(found, verdict), abs=0.012), (column, budgets, seeds)
            if name == "falling":
                assert found is not None
                assert found.violated <= 0.002
                assert found.flat < 0.0005


def test_truths() -> None:
    """The truths of the power tables."""
    assert truth_of("falling", 2.0, 3) == [0.0, -2.0, -4.0]
    assert truth_of("rising at the end", 1.0, 3) == [0.0, -1.0, 0.0]
    assert truth_of("rising at the end", 1.0, 4) == [0.0, -1.0, -2.0, -1.0]
    assert truth_of("flat", 0.0, 3) == [0.0, 0.0, 0.0]


def test_the_smallest_effect_is_about_2_8_standard_errors() -> None:
    """For many degrees of freedom."""
    assert smallest_effect(seeds=[200, 200, 200], variance=4.0) == pytest.approx(2.8 * (4 * 2 / 200) ** 0.5, rel=0.01)
