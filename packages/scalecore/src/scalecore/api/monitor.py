"""What a hardware monitor does at run time.

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
    """What a monitor's factory is given besides its options."""

    folder: Path


@runtime_checkable
class HardwareMonitor(Protocol):
    """Reads sensors and decides. Called in the driver, by one thread at a time.

    Order: `preflight` once per plan or run; then `admit` before each trial, and `sample` about every `interval`
    seconds while a trial runs, less often while none does. A separate thread calls `sample`, so that a slow sensor
    holds nothing; all decisions fall in the driver's loop, which asks for the `verdict` on each sample, in their order,
    some hundredths of a second later. `verdict` is a pure function of the readings and of what the monitor remembers of
    earlier ones. An exception counts as "unavailable": the monitor's policy for that applies where it has one, and the
    user is warned once. So does a `sample` that takes ten seconds; that monitor is not asked again in this run.
    """

    @property
    def interval(self) -> float:
        """Seconds between two samples."""
        ...

    def preflight(self, demand: Demand | None) -> Sequence[Finding]:
        """What speaks for or against starting; `demand` is that of the largest trial of the study where it is known."""
        ...

    def admit(self, demand: Demand) -> Admission:
        """Whether a trial of this demand may start now, and on which GPU, where it judges them one by one.

        The caller starts it at once, or asks again: what was promised counts while `demand.running` names the trial.
        """
        ...

    def sample(self, processes: Mapping[int, int]) -> Sequence[Reading]:
        """Readings now. `processes` maps the numbers of running trials to the process ids of their attempts."""
        ...

    def verdict(self, readings: Sequence[Reading]) -> Verdict:
        """What to do about the readings that `sample` just returned."""
        ...
