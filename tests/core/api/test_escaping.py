"""Untrusted text is escaped before it is shown."""

from __future__ import annotations

import pytest

from scalecore.api.escaping import masked, message_of, printable, spreadsheet_cell, utf8, without_guards


def test_control_characters_are_escaped() -> None:
    """Escape sequences, bells and invalid UTF-8 are escaped; letters of all languages are not."""
    assert printable("a\x1b[31m\x07 \udcff é 中") == "a\\x1b[31m\\x07 \\udcff é 中"
    assert printable("a\n\tb\r", keep="\n\t") == "a\n\tb\\r"
    assert utf8("\udcff é\n") == "\\udcff é\n"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://user:secret@host/path", "http://***@host/path"),
        ("postgresql://me:p@ss/word@host/db", "postgresql://***@host/db"),
        ("'https://token@host' and 'http://b:c@d'", "'https://***@host' and 'http://***@d'"),
        ("postgresql://host/db?user=me&password=secret&x=1", "postgresql://host/db?user=me&password=***&x=1"),
        ("http://host:5000/path", "http://host:5000/path"),
        ("mail me@host", "mail me@host"),
    ],
)
def test_passwords_in_addresses_are_masked(text: str, shown: str) -> None:
    """The host remains, to identify the address."""
    assert masked(text) == shown


def test_console_lines_have_no_guard_ids() -> None:
    """Other brackets stay."""
    assert without_guards("refused [G22]; see [1] [G04]") == "refused; see [1]"
    assert without_guards("allow=[target]") == "allow=[target]"


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_a_cell_is_never_a_formula(start: str) -> None:
    """Spreadsheet programs treat a leading apostrophe as text."""
    assert spreadsheet_cell(f"{start}cmd") == f"'{start}cmd"
    assert spreadsheet_cell("a=b") == "a=b"
    assert spreadsheet_cell("") == ""


def test_an_exception_without_a_message_is_named_by_its_type() -> None:
    """Its `__str__` raises."""

    class Mute(Exception):
        def __str__(self) -> str:
            raise UnicodeError

    assert message_of(Mute()) == "(its message cannot be shown: UnicodeError)"
    assert message_of(ValueError("\udcff")) == "\\udcff"
