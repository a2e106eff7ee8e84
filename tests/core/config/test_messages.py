"""Messages about an experiment file are bounded, and contain no password."""

from __future__ import annotations

import pytest

from scalecore.config.constraints import described
from scalecore.config.messages import ExperimentFileError, Position, Problem, raise_problems


def problem(line: int, message: str = "unknown key") -> Problem:
    return Problem(position=Position(source="a.yaml", line=line, column=1), path=(f"key_{line}",), message=message)


def test_a_message_lists_the_first_problems_and_counts_the_rest() -> None:
    """Of a generated file with 19,000 unknown keys, a message lists fifty; JSON has all of them."""
    with pytest.raises(ExperimentFileError) as caught:
        raise_problems(problem(line) for line in range(1, 19_001))
    lines = str(caught.value).splitlines()
    assert lines[0] == "a.yaml:1:1: key_1: unknown key"
    assert lines[49:] == [
        "a.yaml:50:1: key_50: unknown key",
        "and 18,950 more problems; `scalecore check --json` lists all",
    ]
    assert len(caught.value.problems) == 19_000
    with pytest.raises(ExperimentFileError) as caught:
        raise_problems(problem(line) for line in range(1, 51))
    assert len(str(caught.value).splitlines()) == 50


def test_a_line_of_a_message_is_bounded() -> None:
    """Keys and messages may have any length: each is cut, so that the other one remains readable."""
    found = Problem(position=Position(source="a.yaml", line=1, column=1), path=("k" * 3000,), message="x" * 3000)
    assert found.text == f"a.yaml:1:1: {'k' * 1000}...: {'x' * 1000}..."


def test_a_password_in_a_refused_address_is_not_repeated() -> None:
    """Neither the value nor the override that set it, in text and in JSON."""
    address = "http://me:secret@tracking"
    position = Position(source="a.yaml", override=f"loggers.0.uri={address}", sets=("loggers", 0, "uri"))
    found = Problem(position=position, path=("loggers", 0, "uri"), message=f"expected a server, got {address!r}")
    assert found.text == (
        "<command line>: loggers.0.uri=http://***@tracking: expected a server, got 'http://***@tracking'"
    )
    assert "secret" not in str(found.as_json())
    assert described(address) == "string 'http://***@tracking'"
    long = "http://me:" + "secret" * 20 + "@tracking"
    assert described(long) == "string 'http://***@tracking'"
