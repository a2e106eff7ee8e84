"""How YAML is read: which plain words are numbers, which values are refused, and their positions."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from scalecore.api.errors import ExperimentError
from scalecore.config.load import load_experiment
from scalecore.config.source import MAX_BYTES, dump, parse


def error_of(name: str) -> str:
    """The message for a file that cannot be loaded."""
    with pytest.raises(ExperimentError) as caught:
        load_experiment(name)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1),
        ("-7", -7),
        ("+3", 3),
        ("0", 0),
        ("1e-3", 0.001),
        ("1e5", 100000.0),
        ("1E+2", 100.0),
        (".5", 0.5),
        ("5.", 5.0),
        ("1.5e3", 1500.0),
        ("-0.0", -0.0),
        ("true", True),
        ("false", False),
        ("null", None),
        ("~", None),
        ("", None),
    ],
)
def test_numbers_booleans_and_null(text: str, value: object) -> None:
    """Scientific notation is a number with or without a dot."""
    root = parse(f"a: {text}", source="f.yaml").root

    assert root == {"a": value}
    assert type(root["a"]) is type(value)
    if isinstance(value, float):
        assert math.copysign(1, root["a"]) == math.copysign(1, value)


@pytest.mark.parametrize(
    "text",
    [
        *("on", "off", "yes", "no", "y", "n", "On", "NO", "True", "TRUE", "False", "Null", "NULL"),
        *("12:30", "1:2:3", "2024-01-01", "2024-01-01T10:00:00Z"),
        *("007", "00", "0o17", "0x1F", "0b1", "1_000", ".inf", "-.inf", ".nan", "inf", "nan", "1e", "e5", "1.2.3", "="),
        *("+", "-1-", "."),
    ],
)
def test_everything_else_is_text(text: str) -> None:
    """Words, times, dates, and numbers with leading zeros or underscores stay unchanged."""
    assert parse(f"a: {text}", source="f.yaml").root == {"a": text}


@pytest.mark.parametrize("text", ["'1'", '"true"', "!!str 1", "|-\n  1", "'null'"])
def test_quoted_values_are_text(text: str) -> None:
    """Quotes turn any value into text."""
    assert isinstance(parse(f"a: {text}", source="f.yaml").root["a"], str)


def test_aliases_repeat_a_value() -> None:
    """Anchors and aliases work, and each copy has its own position and path."""
    tree = parse("a: &x {b: 1}\nc: *x\n", source="f.yaml")

    assert (tree.root, tree.problems) == ({"a": {"b": 1}, "c": {"b": 1}}, [])
    assert tree.root["a"] is not tree.root["c"]


def test_positions_of_keys_and_values() -> None:
    """Lines and columns count from 1; list items have their index."""
    tree = parse("a:\n  - x\n  - {b: 1}\nc: 'äö'\n", source="f.yaml")

    def place(path: Any, *, key: bool = False) -> tuple[int, int]:
        position = tree.position(path, key=key)
        return position.line, position.column

    assert place(("a", 0)) == (2, 5)
    assert place(("a", 1, "b")) == (3, 9)
    assert place(("a", 1, "b"), key=True) == (3, 6)
    assert place(("a",)) == (1, 1)
    assert place(("c",)) == (4, 4)
    assert place(("a", 1, "missing")) == (3, 5)
    assert place(("missing", "deeper")) == (1, 1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "experiment.yaml:1:1: the file is empty; expected an experiment"),
        ("# nothing\n", "experiment.yaml:1:1: the file is empty; expected an experiment"),
        ("---\n", "experiment.yaml:2:1: the file is empty; expected an experiment"),
        ("null", "experiment.yaml:1:1: the file is empty; expected an experiment"),
        ("- a\n- b\n", "experiment.yaml:1:1: expected a mapping of keys at the top, got a list"),
        ("name", "experiment.yaml:1:1: expected a mapping of keys at the top, got string 'name'"),
        ("5", "experiment.yaml:1:1: expected a mapping of keys at the top, got 5"),
        (
            "name: a\n\tseed: 1\n",
            "experiment.yaml:2:1: not valid YAML: a tab where spaces are expected; indent with spaces",
        ),
        (
            "name: a\nsearch:\n\ttrials: 5\n",
            "experiment.yaml:3:1: not valid YAML: a tab where spaces are expected; indent with spaces",
        ),
        (
            "name: a: b\n",
            "experiment.yaml:1:8: not valid YAML: a `: ` where no key is expected; "
            "check the indentation, or put the text in quotes",
        ),
        ("name: [a, b\n", "experiment.yaml:1:7: not valid YAML: the list that starts here is not closed"),
        ("name: {a: b\n", "experiment.yaml:1:7: not valid YAML: the mapping that starts here is not closed"),
        (
            "name: {a: b\nseed: 1\n",
            "experiment.yaml:2:5: not valid YAML: while parsing a flow mapping from line 1, column 7, "
            "expected ',' or '}', but got ':'",
        ),
        ("name: 'a\n\n", "experiment.yaml:1:7: not valid YAML: the text in quotes that starts here is not closed"),
        (
            "name: a\n  seed: 1\n",
            "experiment.yaml:2:7: not valid YAML: a `: ` where no key is expected; "
            "check the indentation, or put the text in quotes",
        ),
        ("name: *a\n", "experiment.yaml:1:7: not valid YAML: found undefined alias 'a'"),
        (
            "name: a\n---\nname: b\n",
            "experiment.yaml:2:1: not valid YAML: a second document starts here (`---`); an experiment file has one",
        ),
        ("name: \x01\n", "experiment.yaml:1:7: the character U+0001 is not allowed in YAML"),
        ("a: b\nname: x\x00y\n", "experiment.yaml:2:8: the character U+0000 is not allowed in YAML"),
        ('name: "\\U99999999"\n', "experiment.yaml: not valid YAML: an escape in quotes is not a character"),
        ("[" * 100, "experiment.yaml:1:41: nested more than 40 levels deep"),
        ("a: " + "{a: " * 50, "experiment.yaml:1:157: nested more than 40 levels deep"),
    ],
)
def test_text_that_is_not_an_experiment(write: Any, text: str, message: str) -> None:
    """One clear message if the text is not a mapping."""
    assert error_of(write(text)) == message


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("seed: 1\nseed: 2", "6:1: seed: the key is given twice, first in line 5, column 1"),
        (
            "training: {device: cpu, device: cpu}",
            "5:25: training.device: the key is given twice, first in line 5, column 12",
        ),
        ("1: 2", "5:1: keys must be strings; put 1 in quotes"),
        ("true: 2", "5:1: keys must be strings; put true in quotes"),
        ("? [a, b]\n: 2", "5:3: keys must be strings"),
        ("<<: {seed: 1}", "5:1: <<: merge keys (`<<`) are not part of YAML 1.2; write the keys out"),
        (
            "seed: !!python/name:os.system",
            "5:7: seed: the tag '!!python/name:os.system' is not allowed here; leave it out",
        ),
        ("seed: !env SEED", "5:7: seed: the tag '!env' is not allowed here; leave it out"),
        ("seed: !!int abc", "5:7: seed: the tag '!!int' is not allowed here; leave it out"),
        ("guards: !!set {a, b}", "5:9: guards: the tag '!!set' is not allowed here; leave it out"),
        ("seed: 1e999", "5:7: seed: 1e999 is too large for a number"),
        (f"seed: {'9' * 301}", "5:7: seed: a number of 301 digits is too large"),
        (
            "guards: &g {min_validation_samples: *g}",
            "5:9: guards.min_validation_samples: the alias is inside the value that it refers to",
        ),
        (r'output: "a\0b"', "5:9: output: the text has a null character, which is not allowed"),
        (r'output: "\ud800"', "5:9: output: the text has half a character, which cannot be written to files"),
    ],
)
def test_values_that_are_refused_in_a_mapping(write: Any, small: str, line: str, message: str) -> None:
    """Each is one problem with its position, not two."""
    assert error_of(write(f"{small}{line}\n")) == f"experiment.yaml:{message}"


def test_a_byte_order_mark_is_accepted(write: Any, small: str) -> None:
    """Some editors write one."""
    assert load_experiment(write("\ufeff" + small)).experiment.name == "small"


def test_json_is_read_with_its_escapes(write: Any) -> None:
    """A stored experiment is JSON, which writes a character beyond U+FFFF as two escapes."""
    tree = {"name": "a", "dataset": {"use": "b", "label": "\U0001f600é"}, "model": "c", "search": {"use": "d"}}

    assert load_experiment(write(json.dumps(tree))).experiment.dataset.options == {"label": "\U0001f600é"}


def test_windows_line_ends_are_accepted(write: Any, small: str) -> None:
    """Lines may end as on Windows."""
    assert load_experiment(write(small.replace("\n", "\r\n"))).experiment.name == "small"


def test_a_file_that_is_not_utf8_names_the_line(write: Any, small: str) -> None:
    """Latin-1 text is refused, not guessed."""
    name = write(small)
    Path(name).write_bytes(small.encode() + b"# caf\xe9\n")

    assert error_of(name) == "experiment.yaml:5: not UTF-8 text; save the file as UTF-8"


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    """A missing file and a folder have their own messages."""
    assert error_of(str(tmp_path / "no.yaml")) == f"{tmp_path}/no.yaml: there is no such file"
    assert error_of(str(tmp_path)) == f"{tmp_path}: this is a folder; expected an experiment file"
    assert error_of("a\0b") == "a\0b: cannot be read (embedded null byte)"


def test_the_size_of_a_file_is_bounded(write: Any, small: str) -> None:
    """A file that is too large is not parsed."""
    assert error_of(write(small + "#" * MAX_BYTES)) == "experiment.yaml: larger than the limit of 256 KiB"


def test_an_alias_bomb_is_bounded(write: Any) -> None:
    """Nested aliases that would expand to billions of values are refused quickly."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10)]

    assert error_of(write("\n".join(lines))) == "experiment.yaml:1:1: more than 20000 values, aliases counted each time"


@pytest.mark.parametrize(
    "text",
    ["1e3", "-1.5e3", "2E6", "1e+3", ".5", "5.", "007", "on", "null", "true", "12:30", "~", "", "a: b", "x #", "<<"],
)
def test_dumped_values_are_read_unchanged(text: str) -> None:
    """Text stays text, even if YAML 1.1 would read it differently, and numbers stay numbers."""
    value = {"key": [text, 1e-5, 1e300, 7, True, None]}
    assert parse(dump(value), source="file").root == value
