"""Numbers and trials as people read them; one place, so that console, files and commands say the same."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from scalecore.api.data_report import BaselineReport, PartReport, TargetScale
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
    """`2.42M`, `226.8M`, `1.61B`, `71.9k`: three to four digits, enough to tell shapes of a budget apart."""
    for unit, suffix in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if count >= 0.99995 * unit:  # 999,999 is a million to the digits that are shown
            value = count / unit
            return f"{value:.2f}{suffix}" if value < 100 else f"{value:.1f}{suffix}"
    return str(count)


def duration(seconds: float | None) -> str:
    """`2 h 05 min`, `3 min 20 s`, `12 s`; `unknown` for None."""
    if seconds is None:
        return "unknown"
    whole = round(seconds)
    if whole >= 3600:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    if whole >= 60:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole} s"


def size(count: float | None) -> str:
    """Bytes as `1.2 GB`, `350 MB` or `12 kB`, decimal; `unknown` for None."""
    if count is None:
        return "unknown"
    if count >= 1e6 or count == 0:
        return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
    return f"{count / 1e3:.0f} kB"


def count_of(done: int, total: int | None, *, by: str = " of ") -> str:
    """`3 of 20`; `3` where the total is not known, and so 0 or None."""
    return f"{done}{by}{total}" if total else str(done)


def number(value: float | None, *, like: float | None = None, sign: bool = False) -> str:
    """A metric's value: `0.4081`, `0.0002134`, `-12.5000`, `3683977.1`; `unknown` for None.

    Four decimals, so many more that a number below 0.1 has four significant digits, and so many fewer that one from
    10,000 on has eight. What is compared with another
    number, such as a difference from it or the end of its interval, has the decimals of that: give it as `like`.
    """
    if value is None:
        return "unknown"
    size = abs(value if like is None else like)
    place = math.floor(math.log10(size)) if math.isfinite(size) and size > 0 else 0
    decimals = max(4, 3 - place) if place < 4 else max(0, 7 - place)
    form = f".{decimals}f" if decimals <= 10 else ".3e"
    return f"{value:{'+' if sign else ''}{form}}"


def measured(value: float | None, within: Mapping[str, Any] | None) -> str:
    """`0.4081 (0.3654 to 0.4533)`: a number and its 95 % interval, where there is one."""
    return f"{number(value)}{interval(within, like=value)}"


def best_so_far(best: TrialRecord | None) -> str:
    """`best 0.4081 #9`, or `no best yet`."""
    return "no best yet" if best is None or best.value is None else f"best {number(best.value)} #{best.number}"


def scale(content: TargetScale) -> str:
    """`(mean 40010, standard deviation 8000)`: how a forecast's target is standardised."""
    return f"(mean {content.mean:.5g}, standard deviation {content.std:.5g} over training windows)"


def part_line(name: str, part: PartReport) -> str:
    """`train  4,900 windows  1993-04-27 .. 2013-02-01, 24.1% positive (1,181)`: one part of a split."""
    first, last = part.samples
    rate = "" if part.positives is None else f", {part.base_rate:.1%} positive ({part.positives:,})"
    return f"{name:5} {part.windows:>7,} windows  {first} .. {last}{rate}"


def baseline_line(baseline: BaselineReport) -> str:
    """`last_values  0.3260 (0.2980 to 0.3530)`: the validation loss with its 95 % interval, or why there is none."""
    if baseline.loss is None:
        return f"{baseline.name:14} not available: {baseline.reason}"
    within = baseline.loss_interval.plain() if baseline.loss_interval is not None else None
    return f"{baseline.name:14} {measured(baseline.loss, within)}  {baseline.text}"


def interval(content: Mapping[str, Any] | None, *, like: float | None = None) -> str:
    """` (0.2980 to 0.3530)`: a 95 % interval behind its number, which is `like`; nothing where there is none."""
    return f" ({number(content['low'], like=like)} to {number(content['high'], like=like)})" if content else ""


def caution(best: TrialRecord | None) -> str | None:
    """Why the best trial of a study is no result; None where it is one, and where there is none."""
    if best is not None and best.collapsed:
        return "every completed trial predicts a constant: this is no result [G09]"
    if best is not None and best.unsupported:
        return "no completed trial has a value over enough windows: this is no result [G19]"
    return None


def mixtures(trials: Iterable[TrialRecord]) -> list[str]:
    """A sentence for each of device, GPU and precision in which trials with a value differ (guard G48).

    A study keeps to one device; results of older versions, or of another GPU of the same kind, may differ all the same.
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
        f"trials were computed {what}, and their values may differ by that: "
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
    """`learning_rate=0.000316 dropout=0.2`, floats in three significant digits."""
    return " ".join(
        f"{name}={value:.3g}" if isinstance(value, float) else f"{name}={value}" for name, value in values.items()
    )


def shape(architecture: Architecture) -> str:
    """`d_model=384 n_layers=128 n_heads=32 d_ff=768 params=226.8M`."""
    dimensions = " ".join(f"{name}={value}" for name, value in architecture.values.items())
    return f"{dimensions} params={parameters(architecture.num_parameters)}".strip()


def trial_line(record: TrialRecord, *, metric: str, best: TrialRecord | None, varied: Mapping[str, Any]) -> str:
    """The line that names everything about a finished trial; `varied` are the names of the search space."""
    shown = {name: record.hyperparameters[name] for name in varied if name in record.hyperparameters}
    line = f"trial {record.number}  {shape(record.architecture)} {settings(shown)}".rstrip()
    if record.state is TrialState.COMPLETED:
        line += f" -> {metric}={number(record.value)}"
    else:
        line += f" -> {record.state}" + (f" ({record.reason})" if record.reason else "")
    if best is not None and best.value is not None:
        line += f" ({best_so_far(best)})"
    return line


def origin_text(record: TrialRecord) -> str:
    """`forced d_model:min`, `sampled`, ..."""
    return f"{record.origin.kind} {record.origin.label}" if record.origin.label else record.origin.kind
