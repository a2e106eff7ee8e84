"""Import one plugin and collect its records, isolated from other plugins and from the command."""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import importlib
import importlib.util
import inspect
import os
import re
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from functools import reduce
from pathlib import Path
from types import ModuleType
from typing import Any

import attrs
import pluggy
from attrs import evolve, frozen

import scalecore
from scalecore import __version__
from scalecore.api import hookspecs
from scalecore.api.components import ModelRecord, Record
from scalecore.api.errors import ChangedFileError
from scalecore.plugins.discovery import CORE, Plugin, Status
from scalecore.plugins.kinds import KINDS, Kind

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_PREFIX = "scalecore_"
DIGITS = 12
"""Digits of a file's SHA-256 that form its version."""
_ENTRY_POINT = r"([\w.]+)\s*(?::\s*([\w.]+)\s*)?(?:\[.*\]\s*)?$"


@frozen(kw_only=True)
class Loaded:
    """A plugin after its import: its status, and its records by kind if it is `ok`."""

    plugin: Plugin
    records: tuple[tuple[str, Record], ...] = ()


class _BrokenPluginError(Exception):
    """An error of a plugin, described for its user and its author."""


def load_plugin(plugin: Plugin) -> Loaded:
    """Import the plugin's module and call its hooks; any error makes the plugin `broken`.

    Warnings of the import are dropped, and its output goes to stderr: `--json` output must stay JSON.
    """
    return _loaded(plugin, lambda: _load(plugin.value))


def load_file(path: Path, *, version: str | None = None) -> Loaded:
    """Load a Python file as a plugin: the distribution is its name, the version a hash of its content.

    Raises `ChangedFileError` if `version` is given and the file has another one.
    """
    plugin = Plugin(name=path.stem, value=str(path), distribution=path.name, version="-", location=str(path.parent))
    if path.suffix != ".py":
        return Loaded(plugin=plugin.failed(Status.BROKEN, f"{path} is not a .py file"))
    try:
        content = path.read_bytes()
    except OSError as error:
        return Loaded(plugin=plugin.failed(Status.BROKEN, f"{path} cannot be read ({error.strerror})"))
    plugin = evolve(plugin, version=version_of(content))
    if version not in (None, plugin.version):
        raise changed_file(path, was=str(version), now=plugin.version)
    return _loaded(plugin, lambda: execute(path, content))


def _loaded(plugin: Plugin, load: Callable[[], Any]) -> Loaded:
    # Recorded rather than filtered: a plugin may change the filters.
    with warnings.catch_warnings(record=True), contextlib.redirect_stdout(sys.stderr):
        try:
            module = load()
        except (Exception, SystemExit) as error:
            return Loaded(plugin=_failed(plugin, error, _import_failure(plugin, error)))
        return _collect(plugin, module)


def version_of(content: bytes) -> str:
    """The version of a Python file: the first digits of its SHA-256."""
    return hashlib.sha256(content).hexdigest()[:DIGITS]


def changed_file(path: Path, *, was: str, now: str) -> ChangedFileError:
    """The error for a file that changed since the run began."""
    return ChangedFileError(
        f"{path} changed since the run began (SHA-256 {was} -> {now}): restore its previous content, or run the study "
        "with --allow-changed-code",
        guard="G26",
    )


def execute(path: Path, content: bytes) -> ModuleType:
    """The module of a file. Its name contains the version, so that an edited file or another file of this name is
    another module, but no folder, so that a moved project keeps the hash of its code.
    """
    stem = re.sub(r"\W", "_", path.stem)
    name = f"{stem}_{version_of(content)}"
    known = sys.modules.get(name)
    if known is not None and known.__file__ == str(path):
        return known
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    try:
        # The hashed content, not a .pyc: Python cannot tell two files of the same second and size apart.
        exec(compile(content, str(path), "exec", dont_inherit=True), module.__dict__)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _load(value: str) -> Any:
    """The object of an entry point. `importlib.metadata` does the same, but is slow to import."""
    named = re.match(_ENTRY_POINT, value)
    if named is None:
        raise AttributeError(value)
    return reduce(getattr, filter(None, (named[2] or "").split(".")), importlib.import_module(named[1]))


def _collect(plugin: Plugin, module: Any) -> Loaded:
    """The records of an imported plugin. All hooks are called, even after one failed, to collect its claims."""
    first: BaseException | None = None
    collected: list[tuple[str, Record]] = []
    try:
        # Reading an attribute of foreign code may raise anything, and so may a hook.
        hooks = _hooks(module)
    except (Exception, SystemExit) as error:
        return Loaded(plugin=_failed(plugin, error, reason_of(error)))
    for kind, hook, problem in hooks:
        try:
            if problem is not None:
                raise _BrokenPluginError(problem)
            if kind is not None:
                for record in _call(kind, hook):
                    collected.append((kind.name, record))
                    _check_record(kind, record, collected)
        except (Exception, SystemExit) as error:
            first = first or error
    if first is None:
        return Loaded(plugin=plugin, records=tuple(collected))
    claims = tuple((kind, record.name) for kind, record in collected if isinstance(record, Record))
    return Loaded(plugin=evolve(_failed(plugin, first, reason_of(first)), claims=claims))


def _hooks(module: Any) -> list[tuple[Kind | None, Any, str | None]]:
    """Each hook of the module with its kind, or its problem; pluggy alone would ignore a misspelt one silently."""
    manager = pluggy.PluginManager("scalecore")
    manager.add_hookspecs(hookspecs)
    known = {kind.hook: kind for kind in KINDS.values()}
    found: list[tuple[Kind | None, Any, str | None]] = []
    for attribute in dir(module):
        marked = manager.parse_hookimpl_opts(module, attribute)
        if marked is None:
            if attribute.startswith(_PREFIX) and not inspect.ismodule(getattr(module, attribute)):
                found.append((None, None, _unmarked(attribute, known)))
            continue
        hook = marked.get("specname") or attribute
        if hook not in known:
            if not marked.get("optionalhook"):
                found.append((None, None, _unknown_hook(hook, known)))
        elif marked.get("wrapper") or marked.get("hookwrapper"):
            found.append(
                (None, None, f"{attribute} wraps the hooks of other plugins; a plugin may only add its own records")
            )
        else:
            found.append((known[hook], getattr(module, attribute), None))
    if all(problem is None for _, _, problem in found):
        # pluggy checks the signatures against the hook specifications.
        manager.register(module)
    return found


def _call(kind: Kind, hook: Any) -> Iterator[Record]:
    result = hook()
    if result is None:
        raise _BrokenPluginError(f"{kind.hook} returned nothing instead of records; is a `return` missing?")
    if isinstance(result, Record | str | bytes | dict) or not hasattr(result, "__iter__"):
        raise _BrokenPluginError(f"{kind.hook} returned {_article(result)} instead of a list of {kind.record.__name__}")
    yield from result


def _check_record(kind: Kind, record: Any, collected: list[tuple[str, Record]]) -> None:
    expected = kind.record.__name__
    if not isinstance(record, kind.record):
        raise _BrokenPluginError(f"{kind.hook} returned {_article(record)}, but each item must be {_an(expected)}")
    if not isinstance(record.name, str) or not _NAME.fullmatch(record.name):
        raise _BrokenPluginError(
            f"{kind.hook}: the name {record.name!r} of {_an(expected)} may contain only letters, digits, `-`, `_`, `.`"
        )
    if sum(known == kind.name and other.name == record.name for known, other in collected) > 1:
        raise _BrokenPluginError(f"{kind.hook} offers the {kind.name} {record.name!r} twice")
    if not isinstance(record.summary, str) or not record.summary:
        raise _BrokenPluginError(f"{kind.hook}: the {kind.name} {record.name!r} has no summary of one sentence")
    if not callable(record.factory):
        raise _BrokenPluginError(f"{kind.hook}: the factory of the {kind.name} {record.name!r} cannot be called")
    _check_options(kind, record)


def _check_options(kind: Kind, record: Record) -> None:
    if not isinstance(record.options, type) or not attrs.has(record.options):
        raise _BrokenPluginError(
            f"{kind.hook}: the options of the {kind.name} {record.name!r} must be an attrs class, "
            f"not {_article(record.options)}"
        )
    try:
        attrs.resolve_types(record.options)
    except (NameError, TypeError) as error:
        raise _BrokenPluginError(
            f"{kind.hook}: the types of {record.options.__name__} cannot be resolved ({error}); "
            "do not use `from __future__ import annotations` or `if TYPE_CHECKING` imports in modules with options"
        ) from error
    if "use" in attrs.fields_dict(record.options):
        raise _BrokenPluginError(
            f"{kind.hook}: {record.options.__name__} has an option `use`, but this key names the component"
        )
    for name in attrs.fields_dict(record.options):
        if name in kind.taken:
            raise _BrokenPluginError(
                f"{kind.hook}: {record.options.__name__} has an option `{name}`, which could never be set: in the "
                "experiment file this key belongs to the study; rename the option"
            )
    for name in record.grid if isinstance(record, ModelRecord) else ():
        if name not in attrs.fields_dict(record.options):
            raise _BrokenPluginError(
                f"{kind.hook}: the grid of the model {record.name!r} contains `{name}`, which is not an option of "
                f"{record.options.__name__}"
            )


def _unknown_hook(hook: str, known: dict[str, Kind]) -> str:
    near = difflib.get_close_matches(hook, known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"the hooks are {', '.join(known)}"
    return f"it defines {hook}, which is not a hook; {hint}"


def _unmarked(attribute: str, known: dict[str, Kind]) -> str:
    if attribute in known:
        return f"{attribute} lacks the decorator @hookimpl"
    return _unknown_hook(attribute, known)


def _failed(plugin: Plugin, error: BaseException, reason: str) -> Plugin:
    """Unusable: incompatible if it imports something that this scalecore does not have, otherwise broken."""
    if isinstance(error, ImportError) and (error.name or "").partition(".")[0] == CORE:
        named = re.match(r"cannot import name '(\w+)'", str(error))
        what = f"{named[1]} from {error.name}" if named else error.name
        reason = f"it imports {what}, which scalecore {__version__} does not have{_where(error)}"
        return plugin.failed(Status.INCOMPATIBLE, reason, details=_details(error))
    return plugin.failed(Status.BROKEN, reason, details=_details(error))


def _import_failure(plugin: Plugin, error: BaseException) -> str:
    if (
        isinstance(error, AttributeError)
        and not os.path.isabs(plugin.value)
        and not re.fullmatch(r"[\w.]+(\s*:\s*[\w.]+)?", plugin.value)
    ):
        return f"its entry point {plugin.value!r} is not the name of a module"
    return f"importing {plugin.value} failed: {reason_of(error)}"


def reason_of(error: BaseException) -> str:
    """The type of an error of foreign code, the first line of its message, and its location."""
    if isinstance(error, _BrokenPluginError):
        return str(error)
    if isinstance(error, SystemExit):
        return f"it called sys.exit({'' if error.code is None else repr(error.code)})"
    lines = str(error).strip().splitlines()
    return (f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__) + _where(error)


def _where(error: BaseException) -> str:
    """The location in the plugin, ` (FILE, line 3)`; empty if unknown.

    A line in the user's own file is preferred to the lines of installed packages that it called.
    """
    here = os.path.dirname(__file__)
    found = traceback.extract_tb(error.__traceback__)
    frames = [frame for frame in found if os.path.dirname(frame.filename) != here]
    where = [frame for frame in frames if "importlib" not in frame.filename and "pluggy" not in frame.filename]
    installed = (os.path.dirname(scalecore.__file__), os.path.dirname(os.__file__))
    where = [f for f in where if not f.filename.startswith(installed) and "site-packages" not in f.filename] or where
    return f" ({where[-1].filename}, line {where[-1].lineno})" if where else ""


def _details(error: BaseException) -> str | None:
    if isinstance(error, _BrokenPluginError):
        return None
    return "".join(traceback.format_exception(error))


def _article(value: object) -> str:
    return _an(value.__name__) if isinstance(value, type) else _an(type(value).__name__)


def _an(name: str) -> str:
    return f"an {name}" if name[0].lower() in "aeiou" else f"a {name}"
