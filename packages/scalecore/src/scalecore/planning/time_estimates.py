"""How long a trial of each shape will take, from its FLOPs and what finished trials took per FLOP; and a study."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence

from attrs import define, field, frozen

from scalecore.api.space import Architecture
from scalecore.api.trials import TrialRecord

BACKWARD = 3
"""Forward and backward pass of a window take about three times the operations of the forward pass alone."""
NEIGHBOURS = 3
"""Measured trials that speak for a shape: those nearest in FLOPs, since small shapes use a machine less well."""


@define
class Speeds:
    """Seconds per operation of the trials that ended by themselves, by the FLOPs of their shape."""

    windows: int
    """Of the training part."""
    trials: int = 0
    _measured: dict[int, list[float]] = field(factory=dict)
    """No more than `NEIGHBOURS` of each: the first ones, so that one more trial costs the same however many."""

    @classmethod
    def of(cls, records: Iterable[TrialRecord], *, windows: int) -> Speeds:
        """Those of all records."""
        result = cls(windows)
        for record in records:
            result.add(record)
        return result

    def add(self, record: TrialRecord) -> None:
        """Take a finished trial, where it was timed."""
        epochs, flops = len(record.learning_curve), record.architecture.flops
        if record.duration and epochs and flops > 0 and self.windows:
            self.trials += 1
            known = self._measured.setdefault(flops, [])
            if len(known) < NEIGHBOURS:
                known.append(record.duration / (BACKWARD * flops * self.windows * epochs))

    def seconds(self, flops: int, *, epochs: int) -> float | None:
        """Of a trial of a shape: the median speed of the trials nearest in FLOPs; None without any."""
        if not self._measured or flops <= 0:
            return None
        shapes = sorted(self._measured, key=lambda one: abs(math.log(one / flops)))[:NEIGHBOURS]
        nearest = [speed for shape in shapes for speed in self._measured[shape]][:NEIGHBOURS]
        return statistics.median(nearest) * BACKWARD * flops * self.windows * epochs


@frozen(kw_only=True)
class Forecast:
    """Seconds of a trial with all its `epochs` by architecture id, None where nothing was measured yet; and from how
    many `trials`. Early stopping makes a trial shorter."""

    trials: int
    epochs: int
    seconds: Mapping[str, float | None]


def forecast(
    architectures: Sequence[Architecture], records: Sequence[TrialRecord], *, windows: int, epochs: int
) -> Forecast:
    """How long a trial of each shape will take; `windows` are those of the training part."""
    speeds = Speeds.of(records, windows=windows)
    seconds = {one.id: speeds.seconds(one.flops, epochs=epochs) for one in architectures}
    return Forecast(trials=speeds.trials, epochs=epochs, seconds=seconds)


def seconds_left(
    records: Sequence[TrialRecord], *, total: int, slots: int, running: Sequence[tuple[float, float]]
) -> float | None:
    """Seconds until `total` trials are finished, or None while nothing is known.

    `running` holds, per running trial, the seconds it has taken and the share of its epochs that is done. A trial not
    begun counts as the median of the finished ones, or else of what the running ones will have taken.
    """
    done = [record.duration for record in records if record.duration]
    whole = [seconds / share for seconds, share in running if share > 0.05]
    if not done and not whole:
        return None
    typical = statistics.median(done or whole)
    ahead = sum(max(0.0, (seconds / share if share > 0.05 else typical) - seconds) for seconds, share in running)
    ahead += typical * max(0, total - len(records) - len(running))
    return ahead / max(1, slots)
