"""Import code by its import path: `module:Name`, or `./file.py:Name`, which need not be installed.

A file is executed like a plugin file: from the content that was hashed, without a `.pyc`, and no import finds it.
"""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import importlib
import sys
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

from attrs import frozen

from scalecore.api.options import ImportPath
from scalecore.plugins.manager import DIGITS, changed_file, execute, reason_of


class ImportPathError(ValueError):
    """A problem with an import path, or with the code that it names."""


@frozen(kw_only=True)
class Code:
    """The object that an import path names."""

    found: Any
    sha256: str | None
    """Hash of the file; None for a module."""


def import_code(path: ImportPath, *, sha256: str | None = None) -> Code:
    """Import the object that `path` names. Raises `ImportPathError`.

    Raises `ChangedFileError` if `sha256` is given and the file has another hash. Warnings of the import are dropped,
    and its output goes to stderr.
    """
    digest = None
    with warnings.catch_warnings(record=True), contextlib.redirect_stdout(sys.stderr):
        if path.file is None:
            found: Any = _module(str(path.module))
        else:
            content = _content(path.file)
            digest = hashlib.sha256(content).hexdigest()
            if sha256 not in (None, digest):
                raise changed_file(path.file, was=str(sha256)[:DIGITS], now=digest[:DIGITS])
            found = _executed(path.file, content)
    place = str(path.file or path.module)
    for name in path.name.split("."):
        if not hasattr(found, name):
            near = difflib.get_close_matches(name, [one for one in dir(found) if not one.startswith("_")], n=1)
            raise ImportPathError(f"{place} has no {name}" + (f"; did you mean {near[0]}?" if near else ""))
        found, place = getattr(found, name), f"{name} of {place}"
    return Code(found=found, sha256=digest)


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise ImportPathError(f"{file} cannot be read ({error.strerror})") from None


def _executed(file: Path, content: bytes) -> ModuleType:
    try:
        return execute(file, content)
    except (Exception, SystemExit) as error:
        raise ImportPathError(f"importing {file} failed: {reason_of(error)}") from error


def _module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise ImportPathError(
                f"there is no module {error.name!r} in this environment; the import path of a file is ./FILE.py:NAME"
            ) from None
        raise ImportPathError(f"importing {name} failed: {reason_of(error)}") from error
    except (Exception, SystemExit) as error:
        raise ImportPathError(f"importing {name} failed: {reason_of(error)}") from error
