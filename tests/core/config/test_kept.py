"""Files of a study as typed objects, read strictly, with place and key in each error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import pytest
from attrs import field, frozen

from scalecore.api.errors import StudyError
from scalecore.api.record_parts import KEY, REST, Part
from scalecore.api.trials import TrialState
from scalecore.config.kept import json_of, read_kept, structured


@frozen(kw_only=True, slots=False)
class Inner(Part):
    end: Literal["completed", "killed"] = field(metadata={KEY: "class"})
    bytes: int | None = None
    metrics: Mapping[str, float | None] = field(factory=dict, metadata={REST: True})


@frozen(kw_only=True)
class Outer:
    number: int
    name: str
    share: float = 0.5
    inner: Inner | None = None
    state: TrialState = TrialState.FAILED
    lines: Sequence[Mapping[str, float | None]] = ()
    values: Mapping[str, float | int | str | bool] = field(factory=dict)


WHOLE = {
    "number": 3,
    "name": "x",
    "share": 1,
    "inner": {"class": "completed", "auc": 0.5, "bytes": None},
    "state": "pruned",
    "lines": [{"epoch": 1, "loss": 0.25}],
    "values": {"a": 1, "b": "c", "d": True},
}


def test_a_value_is_read_as_its_class_and_written_unchanged() -> None:
    """Unknown keys are ignored; a part is written with its original keys."""
    for _ in range(3):
        outer = structured(Outer, {**WHOLE, "later": {"version": 9}}, place="a.json")
        assert outer.inner is not None
        assert (outer.inner.end, outer.inner.bytes, outer.inner.metrics) == ("completed", None, {"auc": 0.5})
        assert list(outer.inner.plain().items()) == [("class", "completed"), ("auc", 0.5), ("bytes", None)]
        assert type(outer.share) is int
        assert outer.state is TrialState.PRUNED
        assert outer.values == {"a": 1, "b": "c", "d": True}
    assert structured(Inner, {"class": "killed"}, place="a.json").plain() == {"class": "killed"}


def test_an_equal_value_of_another_type_or_order_is_another_value() -> None:
    """For Python, 1, 1.0 and true are equal, and mappings in another order too."""
    structured(Outer, {"number": 1, "name": "x"}, place="a.json")
    with pytest.raises(StudyError, match="number: expected an integer of at most 64 bits, got true"):
        structured(Outer, {"number": True, "name": "x"}, place="a.json")
    for content in ({"class": "killed", "auc": 1.0, "bytes": 1}, {"class": "killed", "bytes": 1, "auc": 1}):
        assert list(map(repr, structured(Inner, content, place="a.json").plain().items())) == [
            repr(item) for item in content.items()
        ]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"number": 1.0}, "number: expected an integer of at most 64 bits, got 1.0"),
        ({"number": True}, "number: expected an integer of at most 64 bits, got true"),
        ({"number": 10**400}, "number: expected an integer of at most 64 bits, got a number of 401 digits"),
        ({"number": None, "name": 7}, "number: expected an integer of at most 64 bits, got nothing; "
         "name: expected a string, got 7"),
        ({"share": float("inf")}, "share: expected a finite number, got inf"),
        ({"share": "0.5"}, "share: expected a finite number, got string '0.5'"),
        ({"inner": []}, "inner: expected a mapping, got a list"),
        ({"inner": {"class": "complete"}}, "inner.class: expected one of completed, killed, got string 'complete'; "
         "did you mean completed?"),
        ({"inner": {"auc": "x"}}, "inner.auc: expected a finite number, got string 'x'; "
         "inner.class: required, but missing"),
        ({"inner": {"class": "killed", "auc": 10**400}},
         "inner.auc: expected a finite number, got a number of 401 digits"),
        ({"state": "prune"}, "state: expected one of completed, pruned, failed, out_of_memory, diverged, timed_out, "
         "got string 'prune'; did you mean pruned?"),
        ({"state": ["pruned"]}, "state: expected one of completed, pruned, failed, out_of_memory, diverged, timed_out, "
         "got a list"),
        ({"lines": {}}, "lines: expected a list, got a mapping"),
        ({"lines": [{"epoch": 1}, {"epoch": [2]}]}, "lines.1.epoch: expected a finite number, got a list"),
        ({"lines": [{"epoch": 1}, None]}, "lines.1: expected a mapping, got nothing"),
        ({"values": {"a": None}},
         "values.a: expected a number or an integer or a string or true or false, got nothing"),
    ],
)  # fmt: skip
def test_problems_are_named_with_their_keys(changed: dict[str, object], said: str) -> None:
    """Also after objects with the same keys were read."""
    for _ in range(2):
        structured(Outer, WHOLE, place="a.json:1")
        with pytest.raises(StudyError) as raised:
            structured(Outer, {**WHOLE, **changed}, place="a.json:2", remedy="restore it")
        assert str(raised.value) == f"a.json:2: {said}; restore it"


def test_many_problems_are_counted() -> None:
    """The first three are listed."""
    with pytest.raises(StudyError) as raised:
        structured(Outer, {"number": "a", "name": 1, "share": [], "lines": 3, "values": 4}, place="a.json")
    assert str(raised.value).endswith("share: expected a finite number, got a list; and 2 more")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "not JSON (Expecting value, column 1)"),
        (b'{"a": 1} x', "not JSON (Extra data, column 9)"),
        (b'{"a": NaN}', "not JSON (NaN is not a JSON number)"),
        (b'{"a": "\x00"}', "not JSON (Invalid control character at, column 8)"),
        (b'{"a":\n 1,}', "not JSON (Expecting property name enclosed in double quotes, line 2, column 4)"),
        (b'{"a": "\xff"}', "byte 8 is not UTF-8 text"),
        (rb'{"a": "\ud800"}', "half of a character (\\uD800 to \\uDFFF) is not text"),
        (b"[" * 100_000, "not JSON of a study (nested too deeply)"),
        (b'{"a": ' + b"1" * 5000 + b"}", "not JSON of a study (a number of more than 4,300 digits)"),
    ],
)
def test_invalid_json_has_a_reason(data: bytes, said: str, tmp_path: Path) -> None:
    """With the name of the file, if there is one."""
    with pytest.raises(ValueError, match=r".") as raised:
        json_of(data)
    assert str(raised.value) == said
    path = tmp_path / "spec.json"
    path.write_bytes(data)
    with pytest.raises(StudyError) as error:
        read_kept(path, Outer)
    assert str(error.value) == f"{path}: {said}"
