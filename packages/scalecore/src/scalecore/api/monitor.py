"""The protocol of hardware monitors.

The *driver* is the process of `scalecore run`: it owns the study and never imports torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from attrs import frozen

if TYPE_CHECKING:
    from scalecore.api.readings import Admission, Demand, Finding, Reading, Verdict

__all__ = ["HardwareMonitor", "MonitorContext"]


@frozen(kw_only=True)
class MonitorContext:
    """The second argument of a monitor's factory: the study's folder."""

    folder: Path


@runtime_checkable
class HardwareMonitor(Protocol):
    """Reads sensors and decides whether trials may start and continue. Called in the driver, by one thread at a time.

    The core calls `preflight` once per plan or run, `admit` before each trial, and `sample` about every `interval`
    seconds while a trial runs, less often otherwise. A separate thread calls `sample`, so that a slow sensor does not
    block the driver. The driver's loop then calls `verdict` with the readings of each sample, in order, within some
    hundredths of a second. `verdict` depends only on the readings and the monitor's memory of earlier ones.

    An exception counts as "unavailable": the monitor's policy for missing values applies, if it has one, and the user
    gets one warning. A `sample` that takes ten seconds counts the same, and the monitor is off for the rest of the run.
    """

    @property
    def interval(self) -> float:
        """Seconds between two samples."""
        ...

    def preflight(self, demand: Demand | None) -> Sequence[Finding]:
        """Return findings before the study starts; `demand` is that of the largest trial, if known."""
        ...

    def admit(self, demand: Demand) -> Admission:
        """Decide whether a trial with this demand may start now, and on which GPU if the monitor checks each GPU.

        The caller starts the trial at once or calls again later. Memory granted to a trial stays reserved while
        `demand.running` contains the trial.
        """
        ...

    def sample(self, processes: Mapping[int, int]) -> Sequence[Reading]:
        """Return the current readings. `processes` maps numbers of running trials to process ids of their attempts."""
        ...

    def verdict(self, readings: Sequence[Reading]) -> Verdict:
        """Decide what to do about the readings that `sample` has just returned."""
        ...
