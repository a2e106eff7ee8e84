"""The decisions of the memory monitor as pure functions of numbers and readings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

from scalecore.api.formatting import size
from scalecore.api.machine import MemoryLimit
from scalecore.api.readings import Admission, Demand, Finding, Reading, Verdict
from scalecore_hwmon.options import GB

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from scalecore_hwmon.options import MemoryOptions

SUBJECT = "memory"

PRESSURE = 10.0
"""The machine is thrashing if all processes wait for memory in this percentage of the time."""

SWAP_IN = 50e6
"""The machine is thrashing if it reads this many bytes a second from swap."""

THRASHING_FOR = 30.0
"""Seconds of uninterrupted thrashing before a trial is stopped. Thrashing slowed one trial to 1/2460 of its speed."""

OUR_SHARE = 0.25
"""Trials that use less than this share of the limit are not stopped for thrashing, which would not end it."""


@frozen(kw_only=True)
class MemoryBudget:
    """The trials' memory budget in bytes. `limit` is the smallest limit; `machine` ignores the option `limit_gb`."""

    limit: MemoryLimit
    machine: MemoryLimit
    reserve: int
    share: float
    margin: float
    stop_below: int

    @classmethod
    def of(cls, options: MemoryOptions, machine: MemoryLimit) -> MemoryBudget:
        """The budget under `options` on a machine or in a container with the limit `machine`."""
        limit = machine
        if options.limit_gb is not None and options.limit_gb * GB < machine.bytes:
            limit = MemoryLimit(bytes=int(options.limit_gb * GB), source="limit_gb of the memory monitor")
        reserve = max(2 * GB, machine.bytes // 10) if options.reserve_gb is None else int(options.reserve_gb * GB)
        return cls(
            limit=limit,
            machine=machine,
            reserve=reserve,
            share=options.max_share,
            margin=options.margin,
            stop_below=int(options.stop_below_gb * GB),
        )

    @property
    def allowed(self) -> float:
        """Memory that all running trials may use together before one is stopped."""
        return self.share * self.limit.bytes

    @property
    def ceiling(self) -> float:
        """Memory that a trial can get on an otherwise idle machine."""
        return max(0.0, min(self.machine.bytes - self.reserve, self.allowed))

    def need(self, demand: Demand) -> float:
        """Memory that must be free for the trial: its prediction with the margin."""
        return needed(demand) * self.margin


def needed(demand: Demand) -> int:
    """The trial's predicted use of the machine's memory, in bytes."""
    return (demand.host_memory or 0) if demand.device == "cuda" else demand.memory


@frozen(kw_only=True)
class TrialMemory:
    """Used memory (None if unknown) and predicted memory of a trial that is running or was just admitted."""

    used: float | None
    predicted: float | None

    def growth(self, margin: float) -> float:
        """The memory that the trial may still allocate."""
        return 0.0 if self.predicted is None else max(0.0, self.predicted * margin - (self.used or 0.0))


def findings(
    budget: MemoryBudget, options: MemoryOptions, *, available: int, source: str, demand: Demand | None
) -> list[Finding]:
    """Whether a study may start with `available` bytes of memory, as reported by `source`."""
    free = f"{size(available)} free ({source})"
    remedy = "close other programs, raise the limit of the container, or lower {} of the memory monitor"
    if available < options.min_free_gb * GB:
        found = [
            Finding(
                level="refuse",
                subject=SUBJECT,
                message=f"only {free}, less than {options.min_free_gb:g} GB",
                remedy=remedy.format("min_free_gb"),
            )
        ]
    elif available < options.warn_free_gb * GB:
        found = [
            Finding(
                level="warn",
                subject=SUBJECT,
                message=f"only {free}, less than {options.warn_free_gb:g} GB",
                remedy=remedy.format("warn_free_gb"),
            )
        ]
    else:
        found = [Finding(level="ok", subject=SUBJECT, message=f"{free}; a trial may use {_ceiling(budget)}")]
    if demand is not None and needed(demand):
        found.append(_of_demand(budget, demand, available=available))
    return found


def _of_demand(budget: MemoryBudget, demand: Demand, *, available: int) -> Finding:
    need = budget.need(demand)
    smaller = demand.micro_batch > 1 and demand.device != "cuda"
    what = f"the largest trial needs {size(need)} at micro-batch {demand.micro_batch}"
    if demand.device == "cuda":
        what = f"the largest trial needs {size(need)} of the machine's memory besides GPU memory"
    if need > budget.ceiling:
        return Finding(
            level="warn" if smaller else "refuse",
            subject=SUBJECT,
            message=f"{what}, more than a trial may use: {_ceiling(budget)}",
            remedy="such trials run with a smaller micro-batch if that fits"
            if smaller
            else "exclude such shapes (search.exclude), use a smaller budget, or a machine with more memory",
        )
    if need > available - budget.reserve:
        return Finding(
            level="warn",
            subject=SUBJECT,
            message=f"{what}, but only {size(max(0, available - budget.reserve))} are free beyond the reserve: "
            "it waits",
            remedy="close other programs, or set a smaller training.micro_batch",
        )
    return Finding(level="ok", subject=SUBJECT, message=f"{what}: it fits")


def _ceiling(budget: MemoryBudget) -> str:
    return f"{size(budget.ceiling)} of {size(budget.limit.bytes)} ({budget.limit.source})"


def admission(
    budget: MemoryBudget, demand: Demand, *, available: float, source: str, running: Sequence[TrialMemory]
) -> Admission:
    """Whether a trial fits beside the running ones if those grow to their predicted memory (guard G40)."""
    need = budget.need(demand)
    where = "of the machine's memory" if demand.device == "cuda" else f"at micro-batch {demand.micro_batch}"
    what = f"predicted {size(needed(demand))} {where}, {size(need)} with the margin"
    if need > budget.ceiling:
        return Admission(action="refuse", reason=f"{what}: more than a trial may use, {_ceiling(budget)}")
    growth = sum(trial.growth(budget.margin) for trial in running)
    used = sum(trial.used or 0.0 for trial in running)
    by_machine, by_limit = available - budget.reserve - growth, budget.allowed - used - growth
    free = min(by_machine, by_limit)
    if need <= free:
        return Admission(action="admit", limit=int(budget.allowed))
    if by_limit < by_machine:
        account = f"{size(used)} of {size(budget.allowed)} used by running trials"
    else:
        account = f"{size(available)} free ({source}), {size(budget.reserve)} of it kept as reserve"
    reserved = f", {size(growth)} reserved for running trials" if growth else ""
    return Admission(action="wait", reason=f"{what}: {size(max(0.0, free))} available now; {account}{reserved}")


def judge(
    budget: MemoryBudget,
    readings: Sequence[Reading],
    *,
    predicted: Mapping[int, float],
    thrashing_since: float | None,
    now: float,
) -> tuple[Verdict, float | None]:
    """Which trial must be stopped, if any (guard G40), and the time since which the machine has been thrashing.

    Readings without a value never stop a trial. `predicted` maps running trials to their predicted bytes.
    """
    thrashing_since = (now if thrashing_since is None else thrashing_since) if _thrashes(readings) else None
    used = {
        reading.trial: reading.value
        for reading in readings
        if reading.quantity == "process_memory" and reading.trial is not None and reading.value is not None
    }
    left = _smallest(readings, "memory_available")
    if not used:
        return Verdict(action="go_on"), thrashing_since
    largest = max(used, key=lambda number: used[number])
    total = sum(used.values())
    allowed = f"{budget.share * 100:.0f} % of {size(budget.limit.bytes)} ({budget.limit.source})"
    if used[largest] > budget.allowed:
        return _stop(largest, f"trial {largest} uses {size(used[largest])}, more than {allowed}"), thrashing_since
    # Stop the trial furthest above its prediction. A missing prediction counts as 0.
    guilty = max(used, key=lambda number: used[number] - predicted.get(number, 0.0))
    if total > budget.allowed:
        reason = f"{len(used)} trials use {size(total)} together, more than {allowed}; {_part(guilty, used, predicted)}"
        return _stop(guilty, reason), thrashing_since
    if left is not None and left.value is not None and left.value < budget.stop_below:
        reason = (
            f"only {size(left.value)} of memory left ({left.source}), less than {size(budget.stop_below)}; "
            f"{_part(largest, used, predicted)}"
        )
        return _stop(largest, reason), thrashing_since
    if thrashing_since is not None and now - thrashing_since >= THRASHING_FOR:
        signs = ", ".join(f"{reading.quantity} {_rate(reading)}" for reading in readings if _sign(reading))
        reason = f"the machine has been thrashing for {now - thrashing_since:.0f} s ({signs})"
        if total < OUR_SHARE * budget.limit.bytes:
            return Verdict(
                action="go_on", reason=f"{reason}, but not because of the trials, which use {size(total)}"
            ), thrashing_since
        return _stop(largest, f"{reason}; {_part(largest, used, predicted)}"), thrashing_since
    return Verdict(action="go_on"), thrashing_since


def _stop(trial: int, reason: str) -> Verdict:
    return Verdict(action="stop_trial", reason=reason, guard="G40", trial=trial, out_of_memory=True)


def _part(trial: int, used: Mapping[int, float], predicted: Mapping[int, float]) -> str:
    expected = f", predicted {size(predicted[trial])}" if trial in predicted else ""
    return f"trial {trial} uses {size(used[trial])}{expected}"


def _sign(reading: Reading) -> bool:
    limits = {"memory_pressure": PRESSURE, "swap_in": SWAP_IN}
    return reading.value is not None and reading.quantity in limits and reading.value >= limits[reading.quantity]


def _thrashes(readings: Sequence[Reading]) -> bool:
    return any(_sign(reading) for reading in readings)


def _rate(reading: Reading) -> str:
    return f"{size(reading.value or 0.0)}/s" if reading.unit == "B/s" else reading.text


def _smallest(readings: Sequence[Reading], quantity: str) -> Reading | None:
    known = [reading for reading in readings if reading.quantity == quantity and reading.value is not None]
    return min(known, key=lambda reading: reading.value or 0.0, default=None)
