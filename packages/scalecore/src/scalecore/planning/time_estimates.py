"""Estimate the time of a trial from its FLOPs and the speed of finished trials, and the time left of a study."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence

from attrs import define, field, frozen

from scalecore.api.space import Architecture
from scalecore.api.trials import TrialRecord

BACKWARD = 3
"""A forward and backward pass costs about three times the operations of the forward pass alone."""
NEIGHBOURS = 3
"""Number of measured trials per estimate: those nearest in FLOPs, since small shapes use a machine less efficiently."""


@define
class Speeds:
    """Seconds per operation of finished trials, by the FLOPs of their shape."""

    windows: int
    """Number of training windows of the trials to estimate, and of finished ones unless given."""
    trials: int = 0
    _measured: dict[int, list[float]] = field(factory=dict)
    """The first `NEIGHBOURS` measurements per shape, so that the cost of an estimate does not grow with the trials."""

    @classmethod
    def of(cls, records: Iterable[TrialRecord], *, windows: int) -> Speeds:
        """Return the speeds of all records."""
        result = cls(windows)
        for record in records:
            result.add(record)
        return result

    def add(self, record: TrialRecord, *, windows: int | None = None) -> None:
        """Add a finished trial, if it was timed; `windows` are those of another study, if it ran there."""
        epochs, flops, windows = len(record.learning_curve), record.architecture.flops, windows or self.windows
        if record.duration and epochs and flops > 0 and windows:
            self.trials += 1
            known = self._measured.setdefault(flops, [])
            if len(known) < NEIGHBOURS:
                known.append(record.duration / (BACKWARD * flops * windows * epochs))

    def seconds(self, flops: int, *, epochs: int) -> float | None:
        """Estimate a trial by the median speed of the trials nearest in FLOPs; None without measurements."""
        if not self._measured or flops <= 0:
            return None
        shapes = sorted(self._measured, key=lambda one: abs(math.log(one / flops)))[:NEIGHBOURS]
        nearest = [speed for shape in shapes for speed in self._measured[shape]][:NEIGHBOURS]
        return statistics.median(nearest) * BACKWARD * flops * self.windows * epochs


@frozen(kw_only=True)
class Forecast:
    """Estimated seconds of a trial of `epochs` epochs by architecture id, from `trials` measured trials.

    An estimate is None if no trial was measured. Early stopping makes a trial shorter.
    """

    trials: int
    epochs: int
    seconds: Mapping[str, float | None]


def forecast(
    architectures: Sequence[Architecture], records: Sequence[TrialRecord], *, windows: int, epochs: int
) -> Forecast:
    """Estimate the time of a trial of each shape; `windows` is the number of training windows."""
    speeds = Speeds.of(records, windows=windows)
    seconds = {one.id: speeds.seconds(one.flops, epochs=epochs) for one in architectures}
    return Forecast(trials=speeds.trials, epochs=epochs, seconds=seconds)


def borrowed_forecast(
    architectures: Sequence[Architecture],
    others: Iterable[tuple[Sequence[TrialRecord], int]],
    *,
    windows: int,
    epochs: int,
) -> Forecast:
    """Estimate the time of a trial from the trials of other studies, each with its number of training windows.

    Without a hyper-parameter `epochs` (0), a trial counts as long as the longest of the others.
    """
    speeds, longest = Speeds(windows), not epochs
    for records, own_windows in others:
        for record in records:
            speeds.add(record, windows=own_windows)
            epochs = max(epochs, len(record.learning_curve)) if longest else epochs
    seconds = {one.id: speeds.seconds(one.flops, epochs=epochs) for one in architectures}
    return Forecast(trials=speeds.trials, epochs=epochs, seconds=seconds)


def seconds_left(
    records: Sequence[TrialRecord],
    *,
    total: int,
    slots: int,
    running: Sequence[tuple[float, float]],
    earlier: Sequence[TrialRecord] = (),
) -> float | None:
    """Estimate the seconds until `total` trials are finished; None without data.

    `running` contains, per running trial, its seconds so far and the completed share of its epochs. A trial not yet
    started counts as the median of the finished trials, else of `earlier` ones that do not count towards `total`, or
    else of the projected times of the running ones.
    """
    done = [record.duration for record in records or earlier if record.duration]
    whole = [seconds / share for seconds, share in running if share > 0.05]
    if not done and not whole:
        return None
    typical = statistics.median(done or whole)
    ahead = sum(max(0.0, (seconds / share if share > 0.05 else typical) - seconds) for seconds, share in running)
    ahead += typical * max(0, total - len(records) - len(running))
    return ahead / max(1, slots)
