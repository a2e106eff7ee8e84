"""Format numbers and trials as text, in one place for console, files and commands."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from scalecore.api.data_report import BaselineReport, PartReport, TargetScale
from scalecore.api.escaping import printable
from scalecore.api.record_parts import MetricInterval
from scalecore.api.space import Architecture
from scalecore.api.trials import TrialRecord, TrialState

__all__ = [
    "baseline_line",
    "best_so_far",
    "caution",
    "count_of",
    "duration",
    "interval",
    "measured",
    "mixtures",
    "number",
    "origin_text",
    "parameters",
    "part_line",
    "scale",
    "settings",
    "shape",
    "size",
    "trial_line",
]


def parameters(count: int) -> str:
    """Format a count: `2.42M`, `226.8M`, `1.61B`, `71.9k`. Three to four digits distinguish shapes of a budget."""
    for unit, suffix in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if count >= 0.99995 * unit:  # 999,999 rounds to a million
            value = count / unit
            return f"{value:.2f}{suffix}" if value < 100 else f"{value:.1f}{suffix}"
    return str(count)


def duration(seconds: float | None) -> str:
    """Format seconds: `2 h 05 min`, `3 min 20 s`, `12 s`; `unknown` for None."""
    if seconds is None:
        return "unknown"
    whole = round(seconds)
    if whole >= 3600:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    if whole >= 60:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole} s"


def size(count: float | None) -> str:
    """Format bytes in decimal units: `1.2 GB`, `350 MB`, `12 kB`; `unknown` for None."""
    if count is None:
        return "unknown"
    if count >= 1e6 or count == 0:
        return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
    return f"{count / 1e3:.0f} kB"


def count_of(done: int, total: int | None, *, by: str = " of ") -> str:
    """Format progress: `3 of 20`; `3` if the total is 0 or None."""
    return f"{done}{by}{total}" if total else str(done)


def number(value: float | None, *, like: float | None = None, sign: bool = False) -> str:
    """Format a metric's value: `0.4081`, `0.0002134`, `-12.5000`, `3683977.1`; `unknown` for None.

    The number has four decimals, but four significant digits below 0.1 and eight from 10,000 on. To format a difference
    or an interval with the decimals of the number that it belongs to, pass that number as `like`.
    """
    if value is None:
        return "unknown"
    size = abs(value if like is None else like)
    place = math.floor(math.log10(size)) if math.isfinite(size) and size > 0 else 0
    decimals = max(4, 3 - place) if place < 4 else max(0, 7 - place)
    form = f".{decimals}f" if decimals <= 10 else ".3e"
    return f"{value:{'+' if sign else ''}{form}}"


def measured(value: float | None, within: MetricInterval | Mapping[str, Any] | None) -> str:
    """Format a number with its 95 % interval, if there is one: `0.4081 (0.3654 to 0.4533)`."""
    return f"{number(value)}{interval(within, like=value)}"


def best_so_far(best: TrialRecord | None) -> str:
    """Format the best trial: `best 0.4081 #9`, or `no best yet`."""
    return "no best yet" if best is None or best.value is None else f"best {number(best.value)} #{best.number}"


def scale(content: TargetScale) -> str:
    """Format the scale of a forecast's target: `(mean 40010, standard deviation 8000 over training windows)`."""
    return f"(mean {content.mean:.5g}, standard deviation {content.std:.5g} over training windows)"


def part_line(name: str, part: PartReport) -> str:
    """Format a part of a split: `train  4,900 windows  1993-04-27 .. 2013-02-01, 24.1% positive (1,181)`."""
    first, last = part.samples
    rate = "" if part.positives is None else f", {part.base_rate:.1%} positive ({part.positives:,})"
    return f"{name:5} {part.windows:>7,} windows  {first} .. {last}{rate}"


def baseline_line(baseline: BaselineReport) -> str:
    """Format a baseline with its validation loss or the reason for none: `last_values  0.3260 (0.2980 to 0.3530)`."""
    if baseline.loss is None:
        return f"{baseline.name:14} not available: {baseline.reason}"
    return f"{baseline.name:14} {measured(baseline.loss, baseline.loss_interval)}  {baseline.text}"


def interval(within: MetricInterval | Mapping[str, Any] | None, *, like: float | None = None) -> str:
    """Format a 95 % interval that follows the number `like`: ` (0.2980 to 0.3530)`; empty without an interval."""
    if not within:
        return ""
    ends = (within.low, within.high) if isinstance(within, MetricInterval) else (within["low"], within["high"])
    return f" ({number(ends[0], like=like)} to {number(ends[1], like=like)})"


def caution(best: TrialRecord | None) -> str | None:
    """Return why the best trial of a study is not a valid result; None if it is valid or there is none."""
    if best is not None and best.collapsed:
        return "every completed trial predicts a constant: not a valid result [G09]"
    if best is not None and best.unsupported:
        return "no completed trial has a value over enough windows: not a valid result [G19]"
    return None


def mixtures(trials: Iterable[TrialRecord]) -> list[str]:
    """Return a sentence for each of device, GPU and precision in which trials with a value differ (guard G48).

    A study uses one device, but studies of older versions, or GPUs of the same kind, may differ.
    """
    found: dict[str, dict[str, list[int]]] = {}
    for trial in trials:
        if trial.value is None:
            continue
        device, gpu = trial.versions.get("run:device"), trial.versions.get("run:gpu")
        computed = {
            "on different devices": device and device.partition(":")[0],
            "on different GPUs": gpu,
            "in different precisions": trial.policy.precision,
        }
        for what, value in computed.items():
            if value:
                found.setdefault(what, {}).setdefault(str(value), []).append(trial.number)
    return [
        f"trials were computed {what}, which may affect their values: "
        + ", ".join(f"{value} ({_trials(numbers)})" for value, numbers in sorted(groups.items()))
        + " [G48]"
        for what, groups in found.items()
        if len(groups) > 1
    ]


def _trials(numbers: list[int]) -> str:
    listed = ", ".join(str(number) for number in sorted(numbers)[:5])
    more = f" and {len(numbers) - 5} more" if len(numbers) > 5 else ""
    return f"trial{'s' if len(numbers) > 1 else ''} {listed}{more}"


def settings(values: Mapping[str, Any]) -> str:
    """Format settings, floats with three significant digits: `learning_rate=0.000316 dropout=0.2`."""
    return " ".join(
        f"{name}={value:.3g}" if isinstance(value, float) else f"{name}={value}" for name, value in values.items()
    )


def paragraph(name: str, text: str) -> list[str]:
    """Format a text of the user after its name, further lines indented; control characters are escaped."""
    first, *others = printable(text.strip(), keep="\n\t\xa0").split("\n")
    return [f"{name}: {first}", *(f"  {line}".rstrip() for line in others)]


def shape(architecture: Architecture) -> str:
    """Format an architecture: `d_model=384 n_layers=128 n_heads=32 d_ff=768 params=226.8M`."""
    dimensions = " ".join(f"{name}={value}" for name, value in architecture.values.items())
    return f"{dimensions} params={parameters(architecture.num_parameters)}".strip()


def trial_line(
    record: TrialRecord,
    *,
    metric: str,
    best: TrialRecord | None,
    varied: Mapping[str, Any],
    label: str | None = None,
) -> str:
    """Format a finished trial; `varied` contains the names of the search space, `label` replaces its number."""
    shown = {name: record.hyperparameters[name] for name in varied if name in record.hyperparameters}
    line = f"{label or f'trial {record.number}'}  {shape(record.architecture)} {settings(shown)}".rstrip()
    if record.state is TrialState.COMPLETED:
        line += f" -> {metric}={number(record.value)}"
    else:
        line += f" -> {record.state}" + (f" ({record.reason})" if record.reason else "")
    if best is not None and best.value is not None:
        line += f" ({best_so_far(best)})"
    return line


def origin_text(record: TrialRecord) -> str:
    """Format the origin of a trial: `forced d_model:min`, `sampled`, ..."""
    return f"{record.origin.kind} {record.origin.label}" if record.origin.label else record.origin.kind
