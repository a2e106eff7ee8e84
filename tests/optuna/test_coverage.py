from __future__ import annotations

from typing import Any

from scalecore.api.space import Architecture, Choice, Distribution, IntRange, Uniform
from scalecore_optuna.coverage import Coverage
from scalecore_optuna.grid import Grid

WIDTHS = (1, 2, 4, 8, 16)


def coverage_of(*, epochs: tuple[int, ...] = (50, 100), **settings: Any) -> Coverage:
    """Five widths, each twice the previous one, and one hyper-parameter with few values."""
    shapes = [Architecture(values={"width": width}, num_parameters=width, flops=width) for width in WIDTHS]
    return Coverage(Grid(shapes), {"epochs": Choice(values=epochs)}, **settings)


def test_an_untried_suggestion_goes_to_the_nearest_architecture() -> None:
    """Snapping to a feasible architecture is not recorded as a move."""
    settled = coverage_of().settle({"width": 3, "epochs": 50}, coverage_of().tried([]))
    assert (settled.architecture.values, settled.hyperparameters) == ({"width": 4}, {"epochs": 50})
    assert (settled.moved_from, settled.reason) == (None, None)


def test_visits_push_a_suggestion_away_less_and_less() -> None:
    """At weight 1.5 one visit counts as 1.5 factors of two at first, and as nothing at the study's end."""
    ran = [({"width": 4, "epochs": 100}, False)]
    elsewhere = [({"width": 999, "epochs": 50}, False)]
    coverage = coverage_of(weight=1.5, trials=20)
    early = coverage.settle({"width": 5, "epochs": 50}, coverage.tried(ran))
    assert early.architecture.values == {"width": 8}
    assert early.moved_from == {"width": 4, "epochs": 50}
    assert early.reason == "width=4 was tried once; this is the nearest one tried less often"
    late = coverage.settle({"width": 5, "epochs": 50}, coverage.tried(ran + 19 * elsewhere))
    assert (late.architecture.values, late.moved_from) == ({"width": 4}, None)


def test_a_running_architecture_is_avoided_whatever_the_weight() -> None:
    """Parallel trials use different architectures while there are any."""
    coverage = coverage_of(weight=0.0)
    settled = coverage.settle({"width": 4, "epochs": 50}, coverage.tried([({"width": 4, "epochs": 100}, True)]))
    assert settled.architecture.values == {"width": 2}
    assert settled.reason == "width=4 is running; this is the nearest one that is not"
    everything = coverage.tried([({"width": width, "epochs": 100}, True) for width in WIDTHS])
    assert coverage.settle({"width": 4, "epochs": 50}, everything).architecture.values == {"width": 4}


def test_an_exact_repeat_goes_to_an_untried_architecture_first() -> None:
    """A nearer one that was tried with another value follows once every architecture was tried."""
    coverage = coverage_of(weight=0.0)
    tried = [
        ({"width": 4, "epochs": 50}, False),
        ({"width": 2, "epochs": 100}, False),
        ({"width": 8, "epochs": 100}, False),
    ]
    settled = coverage.settle({"width": 4, "epochs": 50}, coverage.tried(tried))
    assert settled.architecture.values == {"width": 1}
    assert settled.reason == "these values were already tried at width=4"
    tried += [({"width": 1, "epochs": 100}, False), ({"width": 16, "epochs": 100}, False)]
    assert coverage.settle({"width": 4, "epochs": 50}, coverage.tried(tried)).architecture.values == {"width": 2}


def test_other_values_come_when_these_were_tried_everywhere() -> None:
    """The last resort before the space is exhausted, after which the suggestion stays."""
    coverage = coverage_of(epochs=(50, 75, 100), weight=0.0)
    tried = [({"width": width, "epochs": epochs}, False) for width in WIDTHS for epochs in (50, 100)]
    settled = coverage.settle({"width": 4, "epochs": 100}, coverage.tried(tried))
    assert (settled.architecture.values, settled.hyperparameters) == ({"width": 4}, {"epochs": 75})
    assert settled.reason == "these values were already tried at width=4; epochs moved from 100 to 75"
    tried += [({"width": width, "epochs": 75}, False) for width in WIDTHS]
    assert coverage.exhausted(coverage.tried(tried))
    assert not coverage.exhausted(coverage.tried(tried[1:]))


def test_a_near_repeat_is_varied_as_little_as_possible() -> None:
    """The compared hyper-parameter that needs the smaller share of its range is moved."""
    shape = Architecture(values={"width": 4}, num_parameters=1, flops=1)
    space: dict[str, Distribution] = {"dropout": Uniform(low=0.1, high=0.3), "epochs": IntRange(low=10, high=1000)}
    coverage = Coverage(Grid([shape]), space, near={"dropout": 0.08, "epochs": 20, "not_varied": 1.0})
    tried = coverage.tried([({"width": 4, "dropout": 0.2, "epochs": 500}, False)])
    settled = coverage.settle({"width": 4, "dropout": 0.21, "epochs": 505}, tried)
    assert settled.hyperparameters["dropout"] == 0.21
    assert 20 <= abs(settled.hyperparameters["epochs"] - 500) <= 60
    assert settled.reason == (
        "width=4 was tried with nearly the same dropout and epochs; "
        f"epochs moved from 505 to {settled.hyperparameters['epochs']}"
    )
    apart = coverage.settle({"width": 4, "dropout": 0.29, "epochs": 505}, tried)
    assert apart.moved_from is None


def test_long_integer_ranges_are_counted_not_listed() -> None:
    """A range of millions is fast, and still finite."""
    shape = Architecture(values={}, num_parameters=1, flops=1)
    coverage = Coverage(Grid([shape]), {"steps": IntRange(low=0, high=50_000_000)}, near={"steps": 5.0})
    tried = coverage.tried([({"steps": 7}, False)])
    assert not coverage.exhausted(tried)
    assert coverage.settle({"steps": 7}, tried).hyperparameters["steps"] != 7
