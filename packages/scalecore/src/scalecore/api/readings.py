"""The types of hardware monitors: readings, findings before a study, admissions of trials, and verdicts."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any, Literal

from attrs import field, frozen

__all__ = ["Admission", "Demand", "Device", "Finding", "Reading", "Verdict"]

Device = Literal["cpu", "cuda", "mps"]
"""The kind of device on which trials train."""


def _number(value: Any) -> Any:
    """Convert a number of another library, such as numpy, to float; leave other values to `Reading.problem`."""
    return float(value) if isinstance(value, Real) and not isinstance(value, int | float) else value


@frozen(kw_only=True)
class Reading:
    """One quantity at one time: a number, or None with the reason. Never use a number for "unknown" (guard G41).

    `quantity` is one of `temperature` (°C), `memory_used`, `memory_available`, `memory_limit`, `process_memory`,
    `swap_used`, `gpu_memory_used`, `disk_free` (bytes), `cpu`, `gpu` (percent), `power` (W), or a plugin's own.
    `source` names the sensor.
    """

    quantity: str
    source: str
    unit: str
    value: float | None = field(converter=_number)
    reason: str | None = None
    guarded: bool = True
    """False if a missing value is ignored according to the monitor's options."""
    trial: int | None = None
    """The number of the trial to which the reading belongs, for instance for `process_memory`."""

    def __attrs_post_init__(self) -> None:
        if self.value is None and not self.reason:
            raise ValueError(f"reading {self.quantity!r} of {self.source!r} has neither a value nor a reason")

    def problem(self) -> str | None:
        """Return why the reading is invalid, such as NaN, which would break comparisons and the file; None if valid."""
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
        """The source, with the number of the trial if there is one."""
        return self.source if self.trial is None else f"{self.source}, trial {self.trial}"

    @property
    def text(self) -> str:
        """The reading as text: `71 °C`, `0.35`, `1.2 GB`, `unavailable (no sensor)`."""
        if self.value is None:
            return f"unavailable ({self.reason})"
        if self.unit in ("B", "B/s"):
            size, name = (1e9, "G") if abs(self.value) >= 1e8 else (1e6, "M")
            return f"{self.value / size:.1f} {name}{self.unit}"
        digits = f"{self.value:.0f}" if abs(self.value) >= 10 else f"{self.value:.2g}"
        return f"{digits} {self.unit}".strip()


@frozen(kw_only=True)
class Finding:
    """The result of a check before the study: a level, a subject, a message and a remedy."""

    level: Literal["ok", "warn", "refuse"]
    subject: str
    message: str
    remedy: str | None = None


@frozen(kw_only=True)
class Demand:
    """The predicted memory of a trial in bytes, at its micro-batch.

    `device` is the owner of the memory: a GPU for `cuda`, the machine for `cpu` and `mps`. `trial` is the number of the
    trial, if it has one, so that memory reserved for running trials is not granted twice.
    """

    memory: int
    micro_batch: int
    device: Device = "cpu"
    trial: int | None = None
    running: frozenset[int] | None = None
    """Numbers of the running trials, for which memory is reserved; None if unknown."""
    slots: int | None = None
    """Maximum number of trials at a time; None if unknown."""
    measured: bool = True
    """True if the prediction is corrected by measured peaks of the study's attempts."""
    host_memory: int | None = None
    """Predicted bytes of the machine's memory in addition, if `memory` is that of a GPU."""


@frozen(kw_only=True)
class Admission:
    """Whether a trial may start: `admit`, `wait` (ask again), or `refuse` (it can never fit at this micro-batch)."""

    action: Literal["admit", "wait", "refuse"]
    reason: str | None = None
    limit: int | None = None
    """Maximum bytes of the machine's memory for an admitted trial, enforced if the platform supports it."""
    gpu: str | None = None
    """The GPU of an admitted trial, in the form of `CUDA_VISIBLE_DEVICES`: its process sees no other."""
    gpu_limit: int | None = None
    """Maximum bytes of that GPU for the trial, enforced in its process."""


@frozen(kw_only=True)
class Verdict:
    """The decision about running trials. `trial` limits `stop_trial` to one trial; None means all running trials.

    `out_of_memory` marks a stop because of memory: the driver then retries the trial only with a smaller micro-batch
    or recomputed activations.
    """

    action: Literal["go_on", "pause", "stop_trial", "stop_study"]
    reason: str | None = None
    guard: str | None = None
    trial: int | None = None
    out_of_memory: bool = field(default=False)
