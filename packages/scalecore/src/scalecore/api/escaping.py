"""Escape untrusted text for terminals, spreadsheets and messages that contain addresses."""

from __future__ import annotations

import re

__all__ = ["masked", "message_of", "printable", "spreadsheet_cell", "utf8", "without_guards"]

_GUARD = re.compile(r" \[G\d\d\]")
_USER = re.compile(r"://[^\s'\"]*@")
_PASSWORD = re.compile(r"\b(password|passwd|token|api_key)=[^\s'\"&;]+", re.IGNORECASE)


def printable(text: str, *, keep: str = "") -> str:
    """Replace control characters and characters that UTF-8 cannot encode by their Python escapes."""
    return "".join(letter if letter.isprintable() or letter in keep else repr(letter)[1:-1] for letter in text)


def utf8(text: str) -> str:
    """Replace characters that UTF-8 cannot encode by their Python escapes."""
    return text if text.isascii() else text.encode("utf-8", errors="backslashreplace").decode()


def masked(text: str) -> str:
    """Replace users and passwords in addresses: `https://***@host`, `password=***`."""
    return _PASSWORD.sub(r"\1=***", _USER.sub("://***@", text))


def without_guards(text: str) -> str:
    """`text` without guard ids such as ` [G40]`: records and documentation contain them, console lines do not."""
    return _GUARD.sub("", text)


def spreadsheet_cell(text: str) -> str:
    """Escape `text` for a cell of a CSV file, so that a spreadsheet program does not run it as a formula."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def message_of(error: BaseException) -> str:
    """Return the message of an exception in UTF-8, also if its `__str__` raises."""
    try:
        return utf8(str(error))
    except Exception as second:
        return f"(its message cannot be shown: {type(second).__name__})"
