"""The monitors' options in an experiment file. Sizes are decimal: 1 GB is 10^9 bytes."""

from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le
from attrs import frozen

from scalecore.api.options import option

GB = 10**9
"""Bytes."""

OnMissing = Literal["warn", "refuse", "ignore"]


@frozen(kw_only=True)
class MemoryOptions:
    """`use: memory`."""

    min_free_gb: Annotated[float, Ge(0)] = option(8.0, help="Refuse to start a study with less memory free than this.")
    warn_free_gb: Annotated[float, Ge(0)] = option(16.0, help="Warn before a study with less memory free than this.")
    max_share: Annotated[float, Gt(0), Le(1)] = option(
        0.85, help="Largest share of the limit that all trials may use together. [G40]"
    )
    limit_gb: Annotated[float, Gt(0)] | None = option(
        None,
        help="Memory limit for the trials; by default the physical memory or the container's limit, if smaller.",
    )
    reserve_gb: Annotated[float, Ge(0)] | None = option(
        None,
        help="Memory that admission keeps free; by default 10 % of the machine's or container's memory, at least 2 GB.",
    )
    margin: Annotated[float, Ge(1)] = option(
        1.15, help="Admission multiplies a trial's predicted memory by this factor."
    )
    stop_below_gb: Annotated[float, Ge(0)] = option(
        0.5, help="Stop the largest trial when the machine or container has less free memory than this. [G40]"
    )
    interval: Annotated[float, Gt(0)] = option(0.1, help="Seconds between two samples while a trial runs.")


@frozen(kw_only=True)
class ThermalOptions:
    """`use: thermal`."""

    watch_at: Annotated[float, Gt(0)] = option(70.0, help="Report the machine as warm from this temperature, in °C.")
    pause_at: Annotated[float, Gt(0)] = option(85.0, help="Pause the study from this temperature, in °C.")
    resume_below: Annotated[float, Gt(0)] = option(80.0, help="Resume below this temperature, in °C.")
    stop_at: Annotated[float, Gt(0)] = option(95.0, help="Checkpoint and stop the study from this temperature, in °C.")
    min_pause: Annotated[float, Ge(0)] = option(60.0, help="Minimum pause, in seconds.")
    confirm: Annotated[int, Ge(1)] = option(
        3, help="Consecutive samples that must agree before the study pauses, resumes or stops."
    )
    on_missing: OnMissing = option(
        "warn", help="If no temperature can be read: `warn`, `refuse` to run, or `ignore`. [G41]"
    )
    sensors: list[str] = option(
        factory=list,
        help="Sensors to use, as `chip` or `chip/label`; by default those of processors and GPUs, else all.",
    )
    interval: Annotated[float, Gt(0)] = option(2.0, help="Seconds between two samples.")

    def __attrs_post_init__(self) -> None:
        if not self.resume_below < self.pause_at < self.stop_at:
            raise ValueError(
                f"resume_below ({self.resume_below:g}) must be below pause_at ({self.pause_at:g}), "
                f"and pause_at below stop_at ({self.stop_at:g})"
            )
        if self.watch_at > self.pause_at:
            raise ValueError(f"watch_at ({self.watch_at:g}) must not be above pause_at ({self.pause_at:g})")


@frozen(kw_only=True)
class DiskOptions:
    """`use: disk`."""

    min_free_gb: Annotated[float, Ge(0)] = option(
        10.0, help="Refuse to start with less free disk space than this. [G44]"
    )
    stop_below_gb: Annotated[float, Ge(0)] = option(
        2.0, help="Checkpoint and stop the study when free disk space falls below this. [G44]"
    )
    interval: Annotated[float, Gt(0)] = option(10.0, help="Seconds between two samples.")


@frozen(kw_only=True)
class CpuOptions:
    """`use: cpu`."""

    busy_share: Annotated[float, Gt(0)] = option(
        0.75, help="Warn before a study when the load exceeds this share of the cores. [G43]"
    )
    interval: Annotated[float, Gt(0)] = option(2.0, help="Seconds between two samples.")


@frozen(kw_only=True)
class GpuOptions:
    """`use: gpu`."""

    devices: list[Annotated[int, Ge(0)]] = option(
        factory=list, help="GPUs to monitor, by NVML index (as in `nvidia-smi`); all by default."
    )
    max_share: Annotated[float, Gt(0), Le(1)] = option(
        0.9, help="Largest share of a GPU's memory that a trial may use."
    )
    margin: Annotated[float, Ge(1)] = option(
        1.15, help="Admission multiplies a trial's predicted memory by this factor."
    )
    on_missing: OnMissing = option("warn", help="If no GPU can be read: `warn`, `refuse` to run, or `ignore`. [G41]")
    interval: Annotated[float, Gt(0)] = option(2.0, help="Seconds between two samples.")
