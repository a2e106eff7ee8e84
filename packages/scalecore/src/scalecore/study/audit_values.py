"""What numbers give away: constants that stand for failures, metrics that are missing, samples that are too few."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence

from scalecore.study.old_results import OldRecord

__all__ = ["constants", "edges", "grain", "missing_metrics", "sample_sizes"]

SAMPLES, POSITIVES = 100, 20
"""Fewer validation samples than these, or positives, rank luck: the defaults of `guards`."""
_SAMPLES = re.compile(r"(?:^|_)(?:n_?val|val(?:idation)?_(?:samples|size|windows|count)|n_validation)(?:_|$)", re.I)
_POSITIVES = re.compile(r"positives|n_pos(?:_|$)", re.I)
_ACCURACY = re.compile(r"(?:^|_)acc(?:uracy)?$", re.I)
STAND_INS = (0.5, 100.0, 999.0, 1000.0, 1e6, 1e9, 1e10)
"""Numbers that programs return in place of a result."""
LARGEST_GRAIN = 100
LEVELS = 3


def constants(group: Sequence[OldRecord]) -> Iterator[tuple[str, str, list[OldRecord]]]:
    """Round numbers that several trials share: failures that were returned as scores, or diverged runs."""
    for number in STAND_INS:
        same = [record for record in group if record.value is not None and abs(record.value) == number]
        if len(same) > 1:
            guard = "G36" if number >= 100 else "G35"
            yield guard, f"the value is exactly {number:g}: a failure that was returned as a score", same


def missing_metrics(group: Sequence[OldRecord]) -> Iterator[tuple[str, int]]:
    """Attributes that some trials have and others lack."""
    names = {name for record in group for name in record.attributes}
    lacking = {name: sum(name not in record.attributes for record in group) for name in names}
    rows = sorted((count, name) for name, count in lacking.items() if count)
    for count in sorted({count for count, _ in rows}):
        listed = [name for number, name in rows if number == count]
        shown = ", ".join(listed[:6]) + (" and others" if len(listed) > 6 else "")
        yield f"{count} of {len(group)} trials lack {shown}", count
    if not names:
        yield "no metrics are kept beside the value", len(group)


def sample_sizes(group: Sequence[OldRecord]) -> list[tuple[str, int]] | None:
    """Stated numbers of validation samples and positives that are too small; None where no record states any."""
    found, known = [], False
    for pattern, least, what in ((_SAMPLES, SAMPLES, "validation samples"), (_POSITIVES, POSITIVES, "positives")):
        stated = [
            value
            for record in group
            for name, value in record.attributes.items()
            if pattern.search(name) and _is_number(value) and value > 0 and value == int(value)
        ]
        known = known or bool(stated)
        small = [value for value in stated if value < least]
        if small:
            listed = " or ".join(f"{size:g}" for size in sorted(set(small)))
            found.append((f"ranked on {listed} {what}, fewer than {least}", len(small)))
    return found if known else None


def grain(group: Sequence[OldRecord]) -> int | None:
    """The smallest number of samples that gives every accuracy, where it is at most 100; None otherwise.

    A share of n samples is a multiple of 1/n. Three different accuracies that are all multiples of 1/18 are no chance.
    """
    values = {
        float(value)
        for record in group
        for name, value in record.attributes.items()
        if _ACCURACY.search(name) and isinstance(value, int | float) and 0 < value < 1
    }
    if len(values) < LEVELS:
        return None
    for size in range(2, LARGEST_GRAIN + 1):
        if all(abs(value * size - round(value * size)) < 1e-4 for value in values):
            return size
    return None


def edges(group: Sequence[OldRecord]) -> Iterator[str]:
    """Dimensions in which both the smallest and the largest of the values lie at an end of what was tried.

    Which way is better is not known of a foreign file, so both ends of the ranking are looked at.
    """
    valued = sorted((record for record in group if record.value is not None), key=lambda record: record.value or 0.0)
    if len(valued) < LEVELS:
        return
    names = {name for record in valued for name in record.values}
    for record, which in ((valued[0], "smallest"), (valued[-1], "largest")):
        at = []
        for name in sorted(names):
            tried = [one.values[name] for one in valued if _is_number(one.values.get(name))]
            value = record.values.get(name)
            if _is_number(value) and len(set(tried)) >= LEVELS and value in (min(tried), max(tried)):
                at.append(f"{name} at its {'minimum' if value == min(tried) else 'maximum'} ({value:g})")
        if at:
            number = record.number if record.number is not None else record.source
            yield f"the {which} value (trial {number}) lies on an edge of what was tried: {', '.join(at)}"


def _is_number(value: object) -> bool:
    """Whether it can be compared and shown: NaN and infinities cannot, nor what is too large for a float."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    return abs(value) <= sys.float_info.max
