"""A strategy's explanation of its search: forced designs, phase, coverage, and why it chose the last trial."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import field, frozen

from scalecore.api.space import Architecture, Value, copied
from scalecore.api.trials import Origin

__all__ = ["Covered", "Explanation", "ForcedDesign", "LastChoice", "Recommendation"]


@frozen(kw_only=True)
class ForcedDesign:
    """A design that runs first.

    `trials` are the numbers of its trials so far; `state` is `planned`, `running`, or the state of the last of them.
    """

    label: str
    architecture: Architecture
    reason: str
    trials: tuple[int, ...] = ()
    state: str = "planned"


@frozen(kw_only=True)
class Covered:
    """Coverage of a dimension, a pair of dimensions, or whole architectures.

    `of` names the one or two dimensions; it is empty for whole architectures. `visits` counts the trials, including
    failed and running ones, of each feasible combination of values: `{"64": 3}`, or `{"64 x 48": 1}` for a pair.
    """

    of: tuple[str, ...]
    visits: Mapping[str, int] = field(converter=copied)

    @property
    def feasible(self) -> int:
        """The number of feasible combinations of values."""
        return len(self.visits)

    @property
    def tried(self) -> int:
        """The number of tried combinations."""
        return sum(count > 0 for count in self.visits.values())


@frozen(kw_only=True)
class LastChoice:
    """The last trial and its origin; `origin.reason` is the reason for this choice as text."""

    number: int
    architecture: Architecture
    hyperparameters: Mapping[str, Value] = field(converter=copied)
    origin: Origin


@frozen(kw_only=True)
class Recommendation:
    """The best configuration according to the strategy's model, which may differ from the best observed one.

    `number` is the trial that ran it and `observed` its value; `value` is the expected value and `deviation` its
    standard deviation. Never recommend a trial that is `Outcome.censored`, such as one that predicts a constant; the
    core would hide it (guard G09).
    """

    number: int
    architecture: Architecture
    hyperparameters: Mapping[str, Value] = field(converter=copied)
    observed: float | None
    value: float
    deviation: float | None = None


@frozen(kw_only=True)
class Explanation:
    """The state of a search, as shown by `plan` and `status`.

    `method` is one line. `phase` is the phase of the next trial (`forced`, `startup`, `sampled`), or `exhausted`.
    `origins` counts the trials so far by the kind of their origin. `covered` lists whole architectures, then single
    dimensions, then pairs. `moved` counts moved suggestions by rule: `coverage`, `running`, `memory`, `repeat`,
    `variation`. `duplicates_avoided` counts exact repeats that were not run. `left_out` maps the numbers of past trials
    that do not fit the current architectures or space, and therefore do not count, to the reason.
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
