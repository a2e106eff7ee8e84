"""Every guard is on the page of guards and has a test with its id."""

from __future__ import annotations

import re

from .conftest import ROOT

IDS = [f"G{number:02d}" for first, last in ((1, 28), (30, 38), (40, 48), (50, 58)) for number in range(first, last + 1)]


def named_tests() -> set[str]:
    """The names of all tests of guards."""
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py")]
    contracts = [path.read_text(encoding="utf-8") for path in (ROOT / "packages").glob("*/src/*/testing/*.py")]
    return {name for text in (*texts, *contracts) for name in re.findall(r"def (test_g\d\d_\w+)\(", text)}


def rows(handbook: dict[str, str]) -> list[list[str]]:
    """The rows of the page: id, mistake, what is done."""
    lines = re.findall(r"^\| (G\d\d \|.*) \|$", handbook["guards.md"], re.MULTILINE)
    return [[cell.strip() for cell in line.split(" | ")] for line in lines]


def test_every_guard_has_a_row(handbook: dict[str, str]) -> None:
    """One each, in the order of their ids, with no empty cell."""
    found = rows(handbook)
    assert [row[0] for row in found] == IDS
    assert all(len(row) == 3 and all(row) for row in found)


def test_every_guard_has_a_test_with_its_id() -> None:
    """The command on the page finds it."""
    tested = {name[5:8].upper() for name in named_tests()}
    assert tested == set(IDS)


def test_every_guard_that_a_test_or_a_message_names_is_on_the_page() -> None:
    """An id that the code uses is explained."""
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "packages").glob("*/src/**/*.py")]
    named = {name for text in sources for name in re.findall(r"\[(G\d\d)\]|guard\"?[=:] ?\"(G\d\d)\"", text)}
    used = {one for pair in named for one in pair if one} | {f"G{name[6:8]}" for name in named_tests()}
    assert used <= set(IDS)
    assert {"G02", "G40", "G52"} <= used
