"""Text of any language on any terminal: characters that an output lacks are escaped, and file names are UTF-8."""

from __future__ import annotations

import codecs
import io
import os
import sys

ESCAPED = "escaped_ascii"


def escape_unprintable() -> None:
    r"""Print a character that the encoding of an output lacks as an escape such as `\xfc` instead of raising."""
    codecs.register(_find)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # click assumes that plain ASCII is a mistake, and would write UTF-8.
            ascii_only = codecs.lookup(stream.encoding).name == "ascii"
            stream.reconfigure(encoding=ESCAPED if ascii_only else None, errors="backslashreplace")


def restart_in_utf8() -> None:
    """Restart this command in Python's UTF-8 mode if the locale has another encoding for file names.

    Otherwise names in other languages could not be stored with a study or read back. The encoding of the output stays.
    """
    if sys.getfilesystemencoding() == "utf-8" or os.environ.get("PYTHONUTF8") == "1":
        return
    output = getattr(sys.stdout, "encoding", None) or "utf-8"
    environment = {"PYTHONIOENCODING": output, **os.environ, "PYTHONUTF8": "1"}
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)


class _Encoder(codecs.IncrementalEncoder):
    def encode(self, input: str, final: bool = False) -> bytes:  # noqa: A002 - the base class names it so
        return input.encode("ascii", "backslashreplace")


def _find(name: str) -> codecs.CodecInfo | None:
    if name != ESCAPED:
        return None
    plain = codecs.lookup("ascii")
    return codecs.CodecInfo(
        plain.encode, plain.decode, incrementalencoder=_Encoder, incrementaldecoder=plain.incrementaldecoder, name=name
    )
