"""Tracks tried points and moves suggestions, to avoid repeats and to cover the space (guards G30, G31)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import define, field, frozen
from numpy.typing import NDArray

from scalecore.api.errors import ExperimentError
from scalecore.api.space import Architecture, Choice, Distribution, IntRange, Value, levels
from scalecore_optuna.grid import Grid, Key

if TYPE_CHECKING:
    from optuna.study import Study

__all__ = ["Coverage", "Settled", "Tried"]

STEPS = 32
"""Steps into which a continuous or long range is divided to vary a near-repeat."""

Point = tuple[Key, tuple[Value, ...]]


@define
class Tried:
    """The points of a study so far, whatever the outcome of their trials."""

    count: int = 0
    points: set[Point] = field(factory=set)
    at: dict[Key, list[Mapping[str, Value]]] = field(factory=dict)
    running: set[Key] = field(factory=set)
    near: dict[Key, NDArray[np.float64]] = field(factory=dict)
    """Architecture -> values that detect near-repeats, one row per trial. Maintained by `Coverage`."""
    unfit: set[Key] = field(factory=set)
    """Architectures that did not fit into memory. They are suggested again only if there is no other."""

    def visits_of(self, grid: Grid) -> NDArray[np.int64]:
        """The number of trials of each architecture: shape [architectures]."""
        return np.array([len(self.at.get(key, ())) for key in grid.keys], dtype=np.int64)


@frozen(kw_only=True)
class Settled:
    """The point that replaces a suggestion. The other fields are None if it is the nearest architecture.

    `moved_from` contains all suggested parameters, `moved_to` those that differ now. `rule` is `coverage`, `running`,
    `memory`, `repeat` or `variation`.
    """

    architecture: Architecture
    hyperparameters: dict[str, Any]
    moved_from: Mapping[str, Value] | None = None
    moved_to: Mapping[str, Value] | None = None
    rule: str | None = None
    reason: str | None = None


class Coverage:
    """The points of a study (a grid and a space), and the rules that move a suggestion.

    A suggestion moves to the architecture with the smallest sum of distance (in factors of two) and `weight` times
    visits; the weight falls to zero over `trials`. Architectures that are not running come first. An exact repeat moves
    to an untried architecture if there is one. A near-repeat changes one of the hyper-parameters in `near`. Raises
    `ExperimentError` for a name that cannot be used.
    """

    def __init__(
        self,
        grid: Grid,
        space: Mapping[str, Distribution],
        *,
        weight: float = 2.0,
        trials: int = 50,
        near: Mapping[str, float] | None = None,
    ) -> None:
        if both := [name for name in grid.names if name in space]:
            raise ExperimentError(
                f"search.space: {both[0]!r} is a dimension of the model and cannot also be a hyper-parameter"
            )
        self.grid = grid
        self.space = dict(space)
        self._weight = weight
        self._trials = trials
        self._near = {name: threshold for name, threshold in (near or {}).items() if name in space}
        for name in self._near:
            if any(not _is_number(value) for value in space[name].bounds()):
                raise ExperimentError(f"search.near_repeat: {name!r} is not numeric, so its values have no distance")
        sizes = [levels(distribution) for distribution in self.space.values()]
        self._size = None if None in sizes else len(grid.keys) * math.prod(size for size in sizes if size is not None)

    def point(self, architecture: Mapping[str, int], hyperparameters: Mapping[str, Value]) -> Point:
        return self.grid.key(architecture), tuple(hyperparameters[name] for name in self.space)

    def tried(self, trials: Iterable[tuple[Mapping[str, Any], bool]]) -> Tried:
        """The points of trials, each passed as its parameters and whether it is running.

        A trial off the grid adds nothing. One without some hyper-parameters adds a visit of its architecture, but no
        point.
        """
        tried = Tried()
        for values, running in trials:
            self.note(tried, values)
            if running and self.grid.find(values) is not None:
                tried.running.add(self.grid.key(values))
        return tried

    def note(self, tried: Tried, values: Mapping[str, Any]) -> None:
        """Add a trial with these parameters."""
        tried.count += 1
        if self.grid.find(values) is None:
            return
        complete = all(name in values for name in self.space)
        tried.at.setdefault(self.grid.key(values), []).append(values if complete else {})
        if complete:
            tried.points.add(self.point(values, values))

    def tried_in(self, study: Study) -> Tried:
        """The points of an Optuna study, with unfinished and failed trials. A violated constraint marks a misfit."""
        trials = [trial for trial in study.get_trials(deepcopy=False) if trial.params]
        tried = self.tried((trial.params, not trial.state.is_finished()) for trial in trials)
        for trial in trials:
            if any(value > 0 for value in trial.constraints.values()) and self.grid.find(trial.params) is not None:
                tried.unfit.add(self.grid.key(trial.params))
        return tried

    def is_new(self, architecture: Architecture, hyperparameters: Mapping[str, Value], tried: Tried) -> bool:
        """Whether the point is neither an exact repeat nor a near-repeat."""
        if self.point(architecture.values, hyperparameters) in tried.points:
            return False
        if not self._near:
            return True
        values = np.array([[float(hyperparameters[name]) for name in self._near]])
        return not self._are_near(values, architecture, tried)[0]

    def exhausted(self, tried: Tried) -> bool:
        """Whether all points of the architectures that fit were tried. False if a hyper-parameter is continuous."""
        if tried.unfit:
            fit = [key for key in self.grid.keys if key not in tried.unfit]
            inside = sum(key not in tried.unfit for key, _ in tried.points)
            return not fit or (self._size is not None and inside * len(self.grid.keys) >= self._size * len(fit))
        return self._size is not None and len(tried.points) >= self._size

    def settle(self, suggestion: Mapping[str, Any], tried: Tried) -> Settled:
        """The point to try for a suggestion. In an exhausted space it is a point that was tried before."""
        grid = self.grid
        hyperparameters = {name: suggestion[name] for name in self.space}
        visits = tried.visits_of(grid)
        distances = np.linalg.norm(grid.coordinates - grid.locate(suggestion), axis=1)
        costs = distances + self._weight * max(0.0, 1.0 - tried.count / self._trials) * visits
        home = grid.architectures[int(np.argmin(distances))]
        running = np.array([key in tried.running for key in grid.keys])
        unfit = np.array([key in tried.unfit for key in grid.keys])
        order = [grid.architectures[row] for row in np.lexsort((costs, running, unfit))]
        first = order[0]
        repeat = self.point(first.values, hyperparameters) in tried.points
        if repeat:
            order = [grid.architectures[row] for row in np.lexsort((costs, visits > 0, running, unfit))]

        architecture, settled = next(self._candidates(order, hyperparameters, tried), (first, hyperparameters))
        if architecture is home and settled == hyperparameters:
            return Settled(architecture=home, hyperparameters=hyperparameters)
        rule = "variation"
        if repeat:
            rule = "repeat"
            reason = f"these values were already tried at {first.id}"
        elif architecture is first is not home:
            times = int(visits[np.argmin(distances)])
            often = "once" if times == 1 else f"{times} times"
            rule = "coverage"
            reason = f"{home.id} was tried {often}; this is the nearest one tried less often"
            if running[np.argmin(distances)]:
                rule = "running"
                reason = f"{home.id} is running; this is the nearest one that is not"
            if unfit[np.argmin(distances)]:
                rule = "memory"
                reason = f"{home.id} did not fit into memory; this is the nearest one that may fit"
        else:
            reason = f"{first.id} was tried with nearly the same {' and '.join(self._near)}"
        if settled != hyperparameters:
            changes = [
                f"{name} moved from {_text(hyperparameters[name])} to {_text(value)}"
                for name, value in settled.items()
                if value != hyperparameters[name]
            ]
            reason += "; " + ", ".join(changes)
        before = {**home.values, **hyperparameters}
        after = {**architecture.values, **settled}
        return Settled(
            architecture=architecture,
            hyperparameters=settled,
            moved_from=before,
            moved_to={name: value for name, value in after.items() if value != before[name]},
            rule=rule,
            reason=reason,
        )

    def _candidates(
        self, order: Sequence[Architecture], hyperparameters: Mapping[str, Value], tried: Tried
    ) -> Iterator[tuple[Architecture, dict[str, Value]]]:
        """In order of preference: no near-repeat, then no exact repeat, then other hyper-parameters."""

        def untried(architecture: Architecture, values: Mapping[str, Value]) -> bool:
            return self.point(architecture.values, values) not in tried.points

        def far(architecture: Architecture, values: Mapping[str, Value]) -> bool:
            return self.is_new(architecture, values, tried)

        moves = self._moves(hyperparameters)
        for accepts in (far, untried):
            for architecture in order:
                if accepts(architecture, hyperparameters):
                    yield architecture, dict(hyperparameters)
                elif accepts is far and not self._has_room(architecture, moves, tried):
                    continue
                elif (varied := self._vary(architecture, hyperparameters, accepts)) is not None:
                    yield architecture, varied
        # A long range yields one more value than there are points, so that at least one is new.
        pools = [
            _nearest_first(d, hyperparameters[name], steps=len(tried.points) + 1) for name, d in self.space.items()
        ]
        for architecture in order:
            for values in itertools.product(*pools):
                candidate = dict(zip(self.space, values, strict=True))
                if untried(architecture, candidate):
                    yield architecture, candidate

    def _are_near(self, values: NDArray[np.float64], architecture: Architecture, tried: Tried) -> NDArray[np.bool_]:
        """Which rows of values (columns as in `near`) are near an earlier trial of the architecture."""
        key = self.grid.key(architecture.values)
        earlier = tried.at.get(key, ())
        known = tried.near.get(key)
        if known is None or len(known) < len(earlier):
            # A missing value is near no other, because comparisons with NaN are false.
            known = np.array([[float(one.get(name, math.nan)) for name in self._near] for one in earlier])
            tried.near[key] = known = known.reshape(len(earlier), len(self._near))
        limits = np.array(list(self._near.values()))
        close = np.all(np.abs(values[:, None] - known[None]) < limits, axis=2)
        return np.asarray(np.any(close, axis=1), dtype=np.bool_)

    def _moves(self, hyperparameters: Mapping[str, Value]) -> NDArray[np.float64]:
        """All candidates of `_vary`, as rows for `_are_near`."""
        here = [float(hyperparameters[name]) for name in self._near]
        rows = [here]
        for column, name in enumerate(self._near):
            values = _nearest_first(self.space[name], hyperparameters[name])
            rows += [[*here[:column], float(value), *here[column + 1 :]] for value in values]
        return np.array(rows)

    def _has_room(self, architecture: Architecture, moves: NDArray[np.float64], tried: Tried) -> bool:
        return not self._near or not self._are_near(moves, architecture, tried).all()

    def _vary(
        self,
        architecture: Architecture,
        hyperparameters: Mapping[str, Value],
        accepts: Callable[[Architecture, Mapping[str, Value]], bool],
    ) -> dict[str, Value] | None:
        """Move one compared hyper-parameter by the smallest accepted share of its range; None if none is accepted."""
        moves = sorted(
            (abs(self.space[name].unit(value) - self.space[name].unit(hyperparameters[name])), position, value)
            for position, name in enumerate(self._near)
            for value in _nearest_first(self.space[name], hyperparameters[name])
        )
        names = list(self._near)
        candidates = ({**hyperparameters, names[position]: value} for _, position, value in moves)
        return next((values for values in candidates if accepts(architecture, values)), None)


def _is_number(value: Value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _text(value: Value) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _nearest_first(distribution: Distribution, value: Value, *, steps: int = STEPS) -> list[Value]:
    """The values of a distribution, at most `steps` + 1 of a range, sorted by their distance from `value`."""
    values: Iterable[Value]
    match distribution:
        case Choice():
            values = distribution.values
        case IntRange():
            whole = range(distribution.low, distribution.high + 1, distribution.step)
            values = (
                whole if len(whole) <= steps else [whole[step * (len(whole) - 1) // steps] for step in range(steps + 1)]
            )
        case _:
            values = {distribution.at(step / steps) for step in range(steps + 1)}
    here = distribution.unit(value)
    return sorted(values, key=lambda other: (abs(distribution.unit(other) - here), distribution.unit(other)))
