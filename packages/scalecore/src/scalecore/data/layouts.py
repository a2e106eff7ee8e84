"""Choose the layout of a split: the options of the file, and values that fit the rows for options that it omits.

Ten years of daily rows are too few for the gap that the look-back of slow features requires, and for five pieces with a
window and a gap each. Omitted options then get smaller values, which are flagged; options in the file are never
changed. An impossible split is refused with a list of values that work, each verified by the same code.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from attrs import evolve, frozen

from scalecore.api.dataset_options import Split
from scalecore.api.errors import DataError, RefusedError
from scalecore.data.checks import check_parts
from scalecore.data.splits import Parts, make_parts, smallest_purge
from scalecore.data.statistics import PartStatistics, Prior, part_statistics, prior_of

if TYPE_CHECKING:
    from scalecore.api.panel import Panel

_SHARES = ((0.7, 0.15, 0.15), (0.6, 0.25, 0.15), (0.5, 0.35, 0.15))
"""Shares of training, validation and test: the default, then larger validation parts, to rank trials (G02)."""
_FIRST_TRAIN = (0.5, 0.4, 0.3)
"""Shares of the first training of `walk-forward`; its folds divide the rest."""
_EIGHTHS = range(7, 0, -1)

_Change = Mapping[str, Any]
"""Changed options of the split by name, and possibly `context`."""


@frozen(kw_only=True)
class Layout:
    """The parts with statistics of their labels, and the options with values below their defaults."""

    parts: Parts
    prior: Prior
    statistics: Mapping[str, PartStatistics]
    chosen: Mapping[str, Any]
    """Options by name, except `purge`; empty if the defaults fit."""


def choose_layout(panel: Panel, *, samples: int, positives: int) -> Layout:
    """Return the first layout allowed by the file that passes all guards, starting with the defaults.

    `samples` and `positives` are the minimum numbers of validation windows (G02). If no layout passes, raises the error
    of the layout nearest to the file, with values that work.
    """
    narrowest = {"purge": _smallest(panel)} if panel.split.purge == "auto" else {}
    refusal: DataError | RefusedError | None = None
    for change in ({}, *_fallbacks(panel.split, narrowest=narrowest)):
        try:
            return _tried(panel, change, samples=samples, positives=positives)
        except (DataError, RefusedError) as error:
            # The error with the narrowest gap, if the file does not set it, names the real obstacle.
            if refusal is None or change == narrowest:
                refusal = error
    assert refusal is not None
    one_class = isinstance(refusal, RefusedError) and refusal.guard == "G06"  # no layout repairs the labels
    working = "" if one_class else _working(panel, narrowest, samples=samples, positives=positives)
    text = f"; these values work: {working}" if working else ""
    if isinstance(refusal, RefusedError):
        raise RefusedError(str(refusal).removesuffix(f" [{refusal.guard}]") + text, guard=refusal.guard)
    raise DataError(f"{refusal}{text}")


def _smallest(panel: Panel) -> int:
    return smallest_purge(context=panel.context, horizon=panel.target.label_span)


def _tried(panel: Panel, change: _Change, *, samples: int, positives: int) -> Layout:
    options = dict(change)
    context = options.pop("context", panel.context)
    target, labels = panel.target, panel.labels
    parts = make_parts(
        times=panel.times,
        labels=labels,
        context=context,
        horizon=target.label_span,
        look_back=panel.look_back,
        split=evolve(panel.split, **options),
    )
    prior = prior_of(labels[parts.train], target=target)
    statistics = {part: part_statistics(labels[ends], target=target, prior=prior) for part, ends in parts.ends.items()}
    check_parts(
        statistics,
        name=panel.name,
        task=target.task,
        min_validation_samples=samples,
        min_validation_positives=positives,
    )
    chosen = {name: value for name, value in options.items() if name != "purge"}
    return Layout(parts=parts, prior=prior, statistics=statistics, chosen=chosen)


def _fallbacks(split: Split, *, narrowest: _Change) -> Iterator[dict[str, Any]]:
    """Yield smaller values of omitted options: first the look-back in the gap, then the pieces, then training."""
    for shares, pieces in itertools.product(_shares(split), _pieces(split)):
        change = {**narrowest, **pieces, **shares}
        if change:
            yield change


def _pieces(split: Split) -> list[dict[str, Any]]:
    """Yield numbers of pieces, the default first (no change); only the default if the file sets a number."""
    if split.kind == "scattered" and split.blocks is None:
        return [{}, *({"blocks": count} for count in range(split.block_count - 1, 1, -1))]
    if split.kind == "walk-forward" and split.folds is None and split.fold is None:
        return [{}, *({"folds": count} for count in range(split.fold_count - 1, 0, -1))]
    return [{}]


def _shares(split: Split) -> list[dict[str, Any]]:
    """Yield shares for splits with several pieces; a contiguous split needs more rows, which its errors report."""
    if split.kind == "contiguous" or (split.train, split.val, split.test) != (None, None, None):
        return [{}]
    if split.kind == "walk-forward":
        return [{}, *({"train": share} for share in _FIRST_TRAIN[1:])]
    return [{}, *(dict(zip(("train", "val", "test"), shares, strict=True)) for shares in _SHARES[1:])]


def _working(panel: Panel, narrowest: _Change, *, samples: int, positives: int) -> str:
    """Return values that pass, changing one option at a time, then two, then more; empty if none pass.

    A gap that the file does not set is tried at its `narrowest` and is not listed.
    """
    options = _alternatives(panel)
    for count in range(1, len(options) + 1):
        found = []
        for some in itertools.combinations(options, count):
            for change in (_merged(values) for values in itertools.product(*some)):
                try:
                    _tried(panel, {**_gap(panel, narrowest, change), **change}, samples=samples, positives=positives)
                except (DataError, RefusedError):
                    continue
                found.append(_text(change))
                break
        if found:
            return "; or ".join(found)
    return ""


def _gap(panel: Panel, narrowest: _Change, change: _Change) -> _Change:
    """Return the narrowest gap, which is smaller for a shorter context."""
    if not narrowest or "context" not in change:
        return narrowest
    return {"purge": smallest_purge(context=change["context"], horizon=panel.target.label_span)}


def _merged(values: Sequence[_Change]) -> dict[str, Any]:
    return {name: value for one in values for name, value in one.items()}


def _alternatives(panel: Panel) -> list[list[dict[str, Any]]]:
    """Return the values to try for each relevant option, starting with the nearest to the file's."""
    split, rows = panel.split, panel.times
    found: list[list[dict[str, Any]]] = [] if split.purge == "auto" else [[{"purge": _smallest(panel)}]]
    if split.kind == "scattered":
        found.append([{"blocks": count} for count in _fewer(split.block_count)])
    if split.kind == "walk-forward":
        # With fewer folds, try the last one, which trains on the most rows.
        found.append(
            [{"folds": count, **({} if split.fold is None else {"fold": count})} for count in _fewer(split.fold_count)]
        )
        found.append([{"train": share} for share in _FIRST_TRAIN])
    elif split.val_from is not None:
        edges = [(round(train * len(rows)), round((train + val) * len(rows))) for train, val, _ in _SHARES]
        dates = [(str(rows[val])[:10], str(rows[test])[:10]) for val, test in edges]
        found.append([{"val_from": val, "test_from": test} for val, test in dates if val < test])
    else:
        found.append([dict(zip(("train", "val", "test"), shares, strict=True)) for shares in _SHARES])
    found.append([{"context": panel.context * part // 8} for part in _EIGHTHS if panel.context * part // 8 > 0])
    return [values for values in found if values]


def _fewer(count: int) -> list[int]:
    """Return smaller numbers from the largest to 1: all of the smallest ones, and eighths of `count`."""
    return sorted({*range(1, min(count, 9)), *(count * part // 8 for part in _EIGHTHS)} - {0, count}, reverse=True)


def _text(change: _Change) -> str:
    """Format a change as in the file: `context: 30 with split: {blocks: 3, purge: 33}`."""
    split = ", ".join(f"{name}: {json.dumps(value)}" for name, value in change.items() if name != "context")
    parts = ([f"context: {change['context']}"] if "context" in change else []) + (
        [f"split: {{{split}}}"] if split else []
    )
    return " with ".join(parts)
