"""Text from outside, made harmless for where it is shown: terminals, spreadsheets, messages with addresses in them."""

from __future__ import annotations

import re

__all__ = ["masked", "message_of", "printable", "spreadsheet_cell", "utf8", "without_guards"]

_GUARD = re.compile(r" \[G\d\d\]")
_USER = re.compile(r"://[^\s'\"]*@")
_PASSWORD = re.compile(r"\b(password|passwd|token|api_key)=[^\s'\"&;]+", re.IGNORECASE)


def printable(text: str, *, keep: str = "") -> str:
    """`text` without anything that a terminal would obey or UTF-8 cannot hold, which is shown as Python writes it."""
    return "".join(letter if letter.isprintable() or letter in keep else repr(letter)[1:-1] for letter in text)


def utf8(text: str) -> str:
    """`text` with what UTF-8 cannot hold written as Python writes it."""
    return text if text.isascii() else text.encode("utf-8", errors="backslashreplace").decode()


def masked(text: str) -> str:
    """`text` without the users and passwords of addresses in it: `https://***@host`, `password=***`."""
    return _PASSWORD.sub(r"\1=***", _USER.sub("://***@", text))


def without_guards(text: str) -> str:
    """`text` without guard ids such as ` [G40]`: records and documentation contain them, console lines do not."""
    return _GUARD.sub("", text)


def spreadsheet_cell(text: str) -> str:
    """`text` for a cell of a CSV file, where a spreadsheet program would run what looks like a formula."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def message_of(error: BaseException) -> str:
    """What an exception says, in UTF-8; also of one that fails to say it."""
    try:
        return utf8(str(error))
    except Exception as second:
        return f"(its message cannot be shown: {type(second).__name__})"
