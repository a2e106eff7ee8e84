"""What hardware monitors say: readings, findings before a study, admissions of a trial, verdicts while it runs."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any, Literal

from attrs import field, frozen

__all__ = ["Admission", "Demand", "Device", "Finding", "Reading", "Verdict"]

Device = Literal["cpu", "cuda", "mps"]
"""What trials train on."""


def _number(value: Any) -> Any:
    """Python's own number for one of another library; what is no number is left to the check."""
    return float(value) if isinstance(value, Real) and not isinstance(value, int | float) else value


@frozen(kw_only=True)
class Reading:
    """One quantity at one time: a number, or `unavailable` with the reason. Never a number that stands for "unknown"
    (guard G41).

    `quantity` is one of `temperature` (°C), `memory_used`, `memory_available`, `memory_limit`, `process_memory`,
    `swap_used`, `gpu_memory_used`, `disk_free` (bytes), `cpu`, `gpu` (percent), `power` (W), or a plugin's own;
    `source` names the sensor.
    """

    quantity: str
    source: str
    unit: str
    value: float | None = field(converter=_number)
    reason: str | None = None
    guarded: bool = True
    """False where a policy was told to ignore that there is no value."""
    trial: int | None = None
    """The number of the trial that the reading belongs to, for instance its `process_memory`."""

    def __attrs_post_init__(self) -> None:
        if self.value is None and not self.reason:
            raise ValueError(f"reading {self.quantity!r} of {self.source!r} has neither a value nor a reason")

    def problem(self) -> str | None:
        """Why nothing can be done with it: it would end a run when it is written, or win every comparison."""
        for name in ("quantity", "source", "unit"):
            if not isinstance(getattr(self, name), str):
                return f"the {name} of a reading must be text, not {getattr(self, name)!r}"
        number = isinstance(self.value, int | float) and not isinstance(self.value, bool)
        if self.value is not None and not (number and math.isfinite(self.value)):
            text = f"reading {self.quantity!r} of {self.source!r} must be a finite number, or None with a reason"
            return f"{text}, not {self.value!r}"
        return None

    @property
    def sensor(self) -> str:
        """The source, and of a reading of one trial its number."""
        return self.source if self.trial is None else f"{self.source}, trial {self.trial}"

    @property
    def text(self) -> str:
        """For people: `71 °C`, `0.35`, `1.2 GB`, `unavailable (no sensor)`."""
        if self.value is None:
            return f"unavailable ({self.reason})"
        if self.unit in ("B", "B/s"):
            size, name = (1e9, "G") if abs(self.value) >= 1e8 else (1e6, "M")
            return f"{self.value / size:.1f} {name}{self.unit}"
        digits = f"{self.value:.0f}" if abs(self.value) >= 10 else f"{self.value:.2g}"
        return f"{digits} {self.unit}".strip()


@frozen(kw_only=True)
class Finding:
    """One result of a check before the study: ok, warn or refuse, what was found, and what to do about it."""

    level: Literal["ok", "warn", "refuse"]
    subject: str
    message: str
    remedy: str | None = None


@frozen(kw_only=True)
class Demand:
    """What a trial is predicted to need: memory in bytes at its micro-batch.

    `device` says whose memory that is: `cuda` a GPU's own, `cpu` and `mps` the machine's. `trial` is the number of the
    trial where it has one, so that what was promised to running trials is not given away twice.
    """

    memory: int
    micro_batch: int
    device: Device = "cpu"
    trial: int | None = None
    running: frozenset[int] | None = None
    """Trials that run now, to whom memory is promised; None where the caller does not know them."""
    slots: int | None = None
    """How many trials may run at a time; None where the caller does not say."""
    measured: bool = True
    """Whether the prediction is corrected by what attempts of the study took."""
    host_memory: int | None = None
    """Bytes of the machine's memory that it is predicted to need besides, where `memory` is a GPU's own."""


@frozen(kw_only=True)
class Admission:
    """Whether a trial may start: `admit`, `wait` (ask again), or `refuse` (it can never fit at this micro-batch)."""

    action: Literal["admit", "wait", "refuse"]
    reason: str | None = None
    limit: int | None = None
    """Bytes of the machine's memory that an admitted trial may come to use; its process is held to it where the
    platform can do that."""
    gpu: str | None = None
    """The GPU on which an admitted trial fits, as `CUDA_VISIBLE_DEVICES` takes it: its process sees no other."""
    gpu_limit: int | None = None
    """Bytes of that GPU that were promised to the trial; its process is held to them."""


@frozen(kw_only=True)
class Verdict:
    """What is to be done now. `trial` limits `stop_trial` to the trial of that number; None means every running one.

    `out_of_memory` tells the driver that the trial was stopped for its memory, so that it is retried only with
    something smaller.
    """

    action: Literal["go_on", "pause", "stop_trial", "stop_study"]
    reason: str | None = None
    guard: str | None = None
    trial: int | None = None
    out_of_memory: bool = field(default=False)
