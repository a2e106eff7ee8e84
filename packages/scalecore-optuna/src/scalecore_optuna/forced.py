"""Forced designs: feasible extremes of the grid, and architectures spread over it (guard G32)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from attrs import evolve, field, frozen

from scalecore.api.errors import ExperimentError
from scalecore.api.space import Architecture, Value
from scalecore.api.trials import Origin, Proposal, TrialState
from scalecore_optuna.space_filling import farthest

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from numpy.typing import NDArray

    from scalecore_optuna.coverage import Coverage, Point, Tried
    from scalecore_optuna.grid import Grid
    from scalecore_optuna.trial_history import Known, Ledger

__all__ = [
    "CONFIGURATION",
    "ForcedArchitecture",
    "ForcedTrials",
    "default_extremes",
    "explain",
    "extremes",
    "maximin",
    "merged",
]

TRANSIENT = (TrialState.FAILED, TrialState.TIMED_OUT)
"""Outcomes that say nothing about the configuration: the forced trial is repeated once."""

TRIES = 2


CONFIGURATION = "configuration"
"""The first part of the label of a configuration of the user, before its number."""


@frozen(kw_only=True)
class ForcedArchitecture:
    """An architecture to run, with its purpose: `d_model:min`, or `d_model:max+n_layers:min` for both."""

    label: str
    architecture: Architecture
    hyperparameters: Mapping[str, Value] = field(factory=dict)
    """Those with values of their own; the others are at their middles."""

    def has(self, trial: Known) -> bool:
        """Whether a trial has the architecture, and its own hyper-parameters."""
        own = all(trial.hyperparameters[name] == value for name, value in self.hyperparameters.items())
        return trial.architecture is self.architecture and own


def default_extremes(grid: Grid) -> list[str]:
    """The dimensions that vary independently.

    A dimension is dependent if it is an integer multiple of an earlier dimension in every feasible architecture, with
    no more distinct multiples than values: d_ff = 2 or 4 times d_model follows d_model and shares its extremes.
    """
    varying = [name for name in grid.names if len(grid.values[name]) > 1]
    return [
        name
        for position, name in enumerate(varying)
        if not any(_follows(grid, name, earlier) for earlier in varying[:position])
    ]


def _follows(grid: Grid, name: str, earlier: str) -> bool:
    pairs = [(a.values[name], a.values[earlier]) for a in grid.architectures]
    if any(base == 0 or value % base for value, base in pairs):
        return False
    return len({value // base for value, base in pairs}) <= len(grid.values[name])


def extremes(grid: Grid, names: Sequence[str] | None = None) -> list[ForcedArchitecture]:
    """The feasible minimum and maximum of each dimension, with the other dimensions as near their middle as possible.

    The distance is Euclidean, in logarithms, to the middle of the other dimensions' ranges, each scaled to one. Labels
    of the same architecture are merged. Raises `ExperimentError` for a name that is not a dimension.
    """
    chosen = default_extremes(grid) if names is None else list(names)
    if unknown := [name for name in chosen if name not in grid.names]:
        known = ", ".join(grid.names) or "none, it has a single architecture"
        raise ExperimentError(
            f"search.extremes: {', '.join(map(repr, unknown))}: not a dimension of the model; dimensions: {known}"
        )
    scaled = grid.scaled()
    labels: dict[str, list[str]] = {}
    found: dict[str, Architecture] = {}
    for name in chosen:
        if len(grid.values[name]) < 2:
            continue
        column = grid.names.index(name)
        off_middle = np.square(np.delete(scaled, column, axis=1)).sum(axis=1)
        for end, value in (("min", grid.values[name][0]), ("max", grid.values[name][-1])):
            at_end = np.array([key[column] == value for key in grid.keys])
            architecture = grid.architectures[int(np.argmin(np.where(at_end, off_middle, np.inf)))]
            labels.setdefault(architecture.id, []).append(f"{name}:{end}")
            found[architecture.id] = architecture
    return [ForcedArchitecture(label="+".join(of), architecture=found[id_]) for id_, of in labels.items()]


def maximin(scaled: NDArray[np.float64], grid: Grid, *, count: int) -> list[ForcedArchitecture]:
    """Architectures far from each other, chosen greedily from the one nearest to the middle.

    `scaled` are coordinates of shape [architectures, coordinates]. Returns fewer than `count` if the grid is smaller.
    """
    visits = np.zeros(len(grid.keys), dtype=np.int64)
    designs = []
    for position in range(min(count, len(visits))):
        row = farthest(scaled, visits)
        visits[row] += 1
        designs.append(ForcedArchitecture(label=f"maximin:{position + 1}", architecture=grid.architectures[row]))
    return designs


def merged(designs: Iterable[ForcedArchitecture], *, middle: Mapping[str, Value]) -> list[ForcedArchitecture]:
    """Merge the designs of the same architecture and hyper-parameters, and join their labels."""
    found: dict[tuple[str, tuple[Value, ...]], ForcedArchitecture] = {}
    for design in designs:
        own = design.hyperparameters
        point = (design.architecture.id, tuple({**middle, **own}.values()))
        known = found.get(point)
        if known is not None:
            own = {**known.hyperparameters, **own}
            design = evolve(known, label=f"{known.label}+{design.label}", hyperparameters=own)
        found[point] = design
    return list(found.values())


def explain(design: ForcedArchitecture) -> str:
    """The reason for a forced design."""
    values, own = design.architecture.values, design.hyperparameters
    ends = [part.split(":") for part in design.label.split("+")]
    middles = "the other hyper-parameters at their middles" if own else "all hyper-parameters at their middles"
    extreme = [
        f"{name} at its feasible {'minimum' if end == 'min' else 'maximum'} ({values[name]})"
        for name, end in ends
        if name in values
    ]
    texts = [" and ".join(extreme) + ", other dimensions as near to the middle as the budget allows"] if extreme else []
    texts += [
        "the architecture nearest to the middle" if number == "1" else "an architecture far from the previous ones"
        for name, number in ends
        if name == "maximin"
    ]
    texts += [f"configuration {number} of search.forced, {middles}" for name, number in ends if name == CONFIGURATION]
    texts += [
        f"{name} at {'its minimum' if end == 'min' else 'its maximum' if end == 'max' else end} ({own[name]}), "
        "the other hyper-parameters at their middles, the architecture nearest to the middle"
        for name, end in ends
        if name in own
    ]
    return "; ".join(texts)


class ForcedTrials:
    """Chooses the next design. Each runs once, and a second time if its trial failed or timed out."""

    def __init__(
        self, designs: Sequence[ForcedArchitecture], *, middle: Mapping[str, Value], coverage: Coverage, ledger: Ledger
    ) -> None:
        self.designs = tuple(designs)
        self._middle = middle
        self._coverage = coverage
        self._ledger = ledger

    def planned(self) -> list[Proposal]:
        """All designs in order."""
        return [self._proposal(design) for design in self.designs]

    def next(self, tried: Tried, *, repeats: Collection[Point]) -> Proposal | None:
        """The first design without a trial, or with one that failed or timed out. `repeats` are known duplicates."""
        for design in self.designs:
            point = self._coverage.point(design.architecture.values, self._hyperparameters(design))
            if point in repeats:
                continue
            ends = [trial.outcome for trial in self.trials_of(design).values()]
            if not ends and (point not in tried.points or self._only_imported(point)):
                return self._proposal(design)
            if 0 < len(ends) < TRIES and all(end is not None and end.state in TRANSIENT for end in ends):
                return self._proposal(design)
        return None

    def trials_of(self, design: ForcedArchitecture) -> dict[int, Known]:
        """The forced trials of a design by number. For one at the middles these are all of its architecture that no
        other design there explains: the middles may have changed since.
        """
        others = [one for one in self.designs if one.hyperparameters and one is not design]
        return {
            number: trial
            for number, trial in sorted(self._ledger.forced.items())
            if design.has(trial) and (design.hyperparameters or not any(other.has(trial) for other in others))
        }

    def _hyperparameters(self, design: ForcedArchitecture) -> Mapping[str, Value]:
        return {**self._middle, **design.hyperparameters}

    def _only_imported(self, point: Point) -> bool:
        """Whether only imported results cover a point. They inform the sampler but do not replace a forced trial."""
        covering = {
            trial.origin.kind
            for trial in self._ledger.trials.values()
            if self._coverage.point(trial.architecture.values, trial.hyperparameters) == point
        }
        return covering == {"imported"}

    def _proposal(self, design: ForcedArchitecture) -> Proposal:
        origin = Origin(kind="forced", label=design.label, reason=explain(design))
        return Proposal(architecture=design.architecture, hyperparameters=self._hyperparameters(design), origin=origin)
