"""How a search explains itself: what it forces, where it stands, what it covered, why it chose the last trial."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import field, frozen

from scalecore.api.space import Architecture, Value, copied
from scalecore.api.trials import Origin

__all__ = ["Covered", "Explanation", "ForcedDesign", "LastChoice", "Recommendation"]


@frozen(kw_only=True)
class ForcedDesign:
    """A design that is run first.

    `trials` are the numbers of its trials so far; `state` is `planned`, `running`, or how the last of them ended.
    """

    label: str
    architecture: Architecture
    reason: str
    trials: tuple[int, ...] = ()
    state: str = "planned"


@frozen(kw_only=True)
class Covered:
    """How much of some dimensions was tried.

    `of` names one dimension or a pair; empty, it is whole architectures. `visits` counts the trials, failed and running
    ones included, of each combination of values that is feasible: `{"64": 3}`, or `{"64 x 48": 1}` for a pair.
    """

    of: tuple[str, ...]
    visits: Mapping[str, int] = field(converter=copied)

    @property
    def feasible(self) -> int:
        """How many combinations of values there are."""
        return len(self.visits)

    @property
    def tried(self) -> int:
        """How many of them were tried."""
        return sum(count > 0 for count in self.visits.values())


@frozen(kw_only=True)
class LastChoice:
    """The newest trial and where it comes from: `origin.reason` tells in words why it was chosen."""

    number: int
    architecture: Architecture
    hyperparameters: Mapping[str, Value] = field(converter=copied)
    origin: Origin


@frozen(kw_only=True)
class Recommendation:
    """The configuration that is best by what the strategy has learnt, which need not be the best one observed.

    `number` is the trial that ran it, `observed` its value; `value` is what the strategy expects of it, and
    `deviation` the standard deviation of that. A trial that predicts a constant (`Outcome.censored`) is never
    recommended; the core does not show one that is (guard G09).
    """

    number: int
    architecture: Architecture
    hyperparameters: Mapping[str, Value] = field(converter=copied)
    observed: float | None
    value: float
    deviation: float | None = None


@frozen(kw_only=True)
class Explanation:
    """What `plan` and `status` show of a search.

    `method` is one line; `phase` is the phase of the next trial (`forced`, `startup`, `sampled`), or `exhausted`;
    `origins` counts the trials so far by the kind of their origin; `covered` goes from whole architectures over single
    dimensions to pairs. `moved` counts suggestions that were moved, by rule: `coverage`, `running`, `memory`, `repeat`,
    `variation`. `duplicates_avoided` are exact repeats that were not run. `left_out` tells by number which earlier
    trials do not count, since they do not fit the architectures or the space of today.
    """

    method: str
    phase: str
    origins: Mapping[str, int] = field(factory=dict, converter=copied)
    forced: tuple[ForcedDesign, ...] = ()
    covered: tuple[Covered, ...] = ()
    moved: Mapping[str, int] = field(factory=dict, converter=copied)
    duplicates_avoided: int = 0
    last: LastChoice | None = None
    recommended: Recommendation | None = None
    left_out: Mapping[int, str] = field(factory=dict)
