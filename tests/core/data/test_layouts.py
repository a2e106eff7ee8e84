"""Layouts: defaults that fit ten years of daily rows, and refusals with values that work."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from attrs import evolve

from scalecore.api.dataset_options import Split
from scalecore.api.errors import DataError, RefusedError
from scalecore.api.panel import Panel
from scalecore.data.prepare import describe
from scalecore.data.splits import make_parts

MakePanel = Any
KINDS = ("contiguous", "scattered", "walk-forward")


def suggested(message: str) -> list[dict[str, Any]]:
    """The values in a refusal, as YAML."""
    _, found, values = re.sub(r" \[G\d+\]$", "", message).partition("; these values work: ")
    return [yaml.safe_load(text.replace(" with ", "\n")) for text in values.split("; or ")] if found else []


def applied(panel: Panel, values: dict[str, Any]) -> Panel:
    """The panel with these values of its split and context replaced."""
    split = evolve(panel.split, **values.get("split", {}))
    return evolve(panel, split=split, context=values.get("context", panel.context))


@pytest.mark.parametrize(
    ("kind", "horizon"),
    [("contiguous", 1), ("contiguous", 2), *((kind, days) for kind in KINDS[1:] for days in (1, 2, 3, 5))],
)
@pytest.mark.parametrize("rows", [2107, 2520])
def test_g54_defaults_work_on_ten_years_of_daily_rows_and_flag_what_they_do_not_cover(
    make_panel: MakePanel, kind: Any, horizon: int, rows: int
) -> None:
    """Windows of 60 rows with a look-back of 340 have a split of every kind, with and without warm-up rows."""
    panel = make_panel(rows=rows, horizon=horizon, context=60, look_back=340, split=Split(kind=kind))
    described = describe(panel)
    assert described.split.purge == 59 + horizon
    flags = [flag["text"] for flag in described.flags if flag["guard"] == "G54"]
    assert flags[0] == (
        f"split.purge {59 + horizon} keeps windows and labels of the parts apart, but features look back 340 rows, of "
        f"which it covers {horizon}"
    )
    chosen = described.split.chosen or {}
    assert len(flags) == (2 if chosen else 1)
    # The chosen values, set in the file, result in the same split.
    written = evolve(panel, split=evolve(panel.split, **chosen, purge=described.split.purge))
    assert describe(written).split.hash == described.split.hash


def test_a_value_chosen_instead_of_a_default_is_flagged(make_panel: MakePanel) -> None:
    """A default that does not fit the rows is replaced, stored and flagged."""
    described = describe(make_panel(rows=2107, context=60, look_back=340, split=Split(kind="scattered")))
    assert described.split.chosen == {"blocks": 3}
    assert described.flags[-1] == {
        "guard": "G54",
        "text": "the defaults of a scattered split do not fit 2107 rows: split: {blocks: 3} was chosen instead",
    }


@pytest.mark.parametrize("kind", KINDS)
def test_a_split_that_fits_is_unchanged(make_panel: MakePanel, kind: Any) -> None:
    """If the full gap leaves enough windows, the defaults apply: old studies keep their windows."""
    panel = make_panel(rows=18000, context=60, look_back=340, split=Split(kind=kind))
    described = describe(panel)
    old = make_parts(
        times=panel.times, labels=panel.labels, context=60, horizon=1, look_back=340, split=Split(kind=kind)
    )
    assert (described.split.purge, described.split.hash) == (400, old.hash)
    assert "chosen" not in described.split.plain()
    assert not [flag for flag in described.flags if flag["guard"] == "G54"]


def test_options_in_the_file_are_not_changed(make_panel: MakePanel) -> None:
    """Blocks that do not fit are refused, with values that do."""
    panel = make_panel(rows=2107, context=60, look_back=340, split=Split(kind="scattered", blocks=5, purge=400))
    with pytest.raises(DataError) as caught:
        describe(panel)
    assert str(caught.value) == (
        "a training stretch of the scattered split has no window left: it has 295 rows from 2001-01-01 to 2001-10-22; "
        "a window needs 60 rows, and purge 400 and embargo 1 are dropped next to another part. Use more data, "
        "fewer than 5 blocks, a shorter context, or a smaller split.purge; these values work: "
        "split: {purge: 60, blocks: 3}; or split: {purge: 60, train: 0.6, val: 0.25, test: 0.15}; "
        "or split: {blocks: 1, train: 0.6, val: 0.25, test: 0.15}"
    )


@pytest.mark.parametrize(
    ("split", "fields"),
    [
        (Split(purge=20), {}),
        (Split(purge=5000), {}),
        (Split(train=0.9, val=0.05, test=0.05), {}),
        (Split(val_from="1999-01-01", test_from="1999-06-01"), {}),
        (Split(val_from="2006-09-01", test_from="2006-09-20"), {}),
        (Split(kind="scattered", blocks=5, train=0.7, val=0.15, test=0.15), {}),
        (Split(kind="scattered", blocks=400), {}),
        (Split(kind="walk-forward", folds=12), {}),
        (Split(kind="walk-forward", folds=12, fold=4, rolling=True), {}),
        (Split(kind="walk-forward", folds=5, purge=400), {}),
        (Split(kind="scattered", blocks=6, purge=400, train=0.7, val=0.15, test=0.15), {"context": 90}),
        (Split(), {"context": 1200}),
    ],
)
def test_every_value_in_a_refusal_works(make_panel: MakePanel, split: Split, fields: Any) -> None:
    """Each value in the message, set in the file, makes the refused split possible."""
    panel = make_panel(**{"rows": 2107, "context": 60, "look_back": 340, "split": split, **fields})
    with pytest.raises((DataError, RefusedError)) as caught:
        describe(panel)
    values = suggested(str(caught.value))
    assert values
    for one in values:
        assert describe(applied(panel, one)).parts["val"].effective >= 100


def test_g02_a_validation_part_that_is_too_small_is_refused_with_shares_that_work(make_panel: MakePanel) -> None:
    """The refusal of this guard has values too, before its id."""
    panel = make_panel(rows=900, horizon=2, split=Split(train=0.8, val=0.1, test=0.1))
    with pytest.raises(RefusedError) as caught:
        describe(panel)
    assert str(caught.value) == (
        "walk.parquet: validation has 40 effective samples (81 windows, whose labels overlap 2 times), fewer than "
        "guards.min_validation_samples: 100. Use more data or a larger validation part; these values work: split: "
        "{train: 0.6, val: 0.25, test: 0.15} [G02]"
    )


def test_a_refusal_has_no_values_if_none_work(make_panel: MakePanel) -> None:
    """With too few rows, the message has only the reason."""
    with pytest.raises(RefusedError) as caught:
        describe(make_panel(rows=150, context=5))
    assert str(caught.value) == (
        "walk.parquet: validation has 17 effective samples, fewer than guards.min_validation_samples: 100. Use more "
        "data or a larger validation part [G02]"
    )
