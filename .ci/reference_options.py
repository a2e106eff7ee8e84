"""Print docs/reference/experiment-file.md, or plugins.md for the distributions named, from the classes of options.

`record_docs.py --pages` calls it. For a user, `scalecore plugins --schema` has the options of every installed plugin.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import annotated_types as at
from attrs import NOTHING

from scalecore.api.errors import PluginError
from scalecore.api.options import Imported, ImportPath, MustExist
from scalecore.api.space import Distribution
from scalecore.config.constraints import bounds_of
from scalecore.config.experiment import Budget, ComponentRef, Experiment
from scalecore.config.fields import OptionField, fields_of, is_class, kind_of, members_of
from scalecore.plugins.kinds import KINDS

if TYPE_CHECKING:
    from scalecore.plugins.registry import Registered, Registry


_INTRODUCTION = """\
# The experiment file

<!-- Made by `python .ci/record_docs.py --pages` from the attrs classes. Change those, not this file. -->

One YAML file describes one study. `use:` names a component, its options stand beside it; a bare string is a component
without options. `scalecore check FILE` lists everything that is wrong, with line and column; values can be replaced on
the command line: `scalecore run FILE search.trials=5 monitors.0.pause_at=80`.

```yaml
name: spy-h1-2m
dataset: {use: parquet, ...}
model: linear
search:
  use: random
  trials: 20
  space:
    learning_rate: {log_uniform: [1e-4, 1e-3]}
    warmup_steps: {int: [100, 500], step: 100}
    epochs: {choice: [50, 75, 100]}
loggers: [console, files, {use: csv, path: results.csv}]
```

Only `true` and `false` are booleans, and `1e-3` is a number. `on`, `no`, `12:30`, `2024-01-01` and numbers with leading
zeros are strings. Nothing is converted, except an integer where a number is expected. Relative paths start at the
folder of the file. Unknown and duplicate keys are refused.

A budget is a number of parameters: `250000`, `250k`, `2M` or `1.5B`. A distribution is one of `uniform: [low, high]`,
`log_uniform: [low, high]`, `int: [low, high]` (with `step: n` or `log: true`) and `choice: [...]`.
"""

_COMPONENTS = """\
`scalecore plugins` lists what is installed, `scalecore plugins --schema` prints the options of all of it for editors.
Wherever a component is named, its distribution may be named too, as in `use: scalecore/random`; where several
distributions have a component of one name, it must be."""

_PLUGINS = """\
# Options of plugins

<!-- Made by `python .ci/record_docs.py --pages` from the attrs classes. Change those, not this file. -->

The components that the packages of this project offer beside [those of scalecore](experiment-file.md#components), with
their options, which stand beside `use:`. For packages of others, `scalecore plugins --schema` has the same.
"""

_PLAIN = {bool: "boolean", int: "integer", float: "number", str: "string", Path: "path", Any: "any value"}

_LOW, _HIGH = (at.Ge, at.Gt), (at.Le, at.Lt)


def render_reference(registry: Registry) -> str:
    """The whole page: all keys, and the options of every component that the registry can provide."""
    lines = [_INTRODUCTION, "## All keys", ""]
    top = list(fields_of(Experiment))
    lines += _table(row for one in top for row in _row(one, "", nested=False))
    for one in top:
        if is_class(one.type) and one.type is not ComponentRef:
            lines += ["", f"## `{one.name}:`", "", one.help, ""]
            lines += _table(row for inner in fields_of(one.type) for row in _row(inner, ""))
    lines += ["", "## Components", "", _COMPONENTS, ""]
    for kind in KINDS.values():
        for component in registry.components(kind.name):
            lines += [*_component(component, kind.name), ""]
    return "\n".join(lines).rstrip() + "\n"


def render_plugins(registry: Registry, distributions: Iterable[str]) -> str:
    """The page of the components of these distributions, all of which must be installed."""
    lines = [_PLUGINS]
    for distribution in distributions:
        lines += [f"## {distribution}", ""]
        found = [(kind.name, one) for kind in KINDS.values() for one in registry.components(kind.name)]
        ours = [(kind, one) for kind, one in found if one.provider == distribution]
        if not ours:
            raise PluginError(f"{distribution} provides no component that can be used; see `scalecore plugins`")
        for kind, component in ours:
            lines += [*_component(component, kind), ""]
    return "\n".join(lines).rstrip() + "\n"


def _component(component: Registered, kind: str) -> Iterator[str]:
    yield f"### {kind} `{component.name}`"
    yield ""
    yield f"{component.record.summary} From `{component.provider}`."
    yield ""
    rows = [row for one in fields_of(component.record.options) for row in _row(one, "")]
    yield from _table(rows) if rows else ["It has no options."]


def _table(rows: Iterable[str]) -> list[str]:
    return ["| key | value | default | meaning |", "|---|---|---|---|", *rows]


def _row(field: OptionField, prefix: str, *, nested: bool = True) -> Iterator[str]:
    """The row of a key, followed by those of the mapping that it holds."""
    if field.type is ComponentRef and field.name == "component":
        yield "| `use` | name of a component | | Its options stand beside the keys of this table. |"
        return
    inner = _classes(field.type)
    # What a mapping holds by default stands in the rows below it.
    hidden = field.default is NOTHING or (inner and isinstance(field.default, dict))
    default = "required" if field.required else "" if hidden else f"`{_shown(field.default)}`"
    cells = (f"`{prefix}{field.name}`", _words(field.type), default, field.help)
    yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
    for one in inner if nested else ():
        for below in fields_of(one):
            yield from _row(below, f"{prefix}{field.name}.")


def _classes(kind: Any) -> list[type]:
    """The attrs classes that a value of this type is a mapping of."""
    if kind_of(kind) == "union" and kind != Distribution:
        return [one for member in members_of(kind)[0] for one in _classes(member)]
    return [kind] if is_class(kind) and kind not in (ComponentRef, Budget, Imported, ImportPath) else []


def _shown(value: Any) -> str:
    """A default as the file would write it."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case list():
            return f"[{', '.join(map(_shown, value))}]"
        case dict():
            return "{" + ", ".join(f"{key}: {_shown(one)}" for key, one in value.items()) + "}"
    return str(value)


def _words(kind: Any) -> str:
    """A type in words."""
    if kind == Distribution:
        return "distribution"
    if kind is Budget:
        return "budget"
    if kind is ComponentRef:
        return "component"
    if kind in (Imported, ImportPath):
        return "import path"
    arguments = get_args(kind)
    match kind_of(kind):
        case "annotated":
            return _bounded(_words(arguments[0]), list(bounds_of(kind)))
        case "literal":
            return _or([_code(value) for value in arguments])
        case "enum":
            return _or([_code(item.value) for item in kind])
        case "union":
            members, optional = members_of(kind)
            words: list[str] = []
            for member in members:
                words += map(_code, get_args(member)) if kind_of(member) == "literal" else [_words(member)]
            return _or([*words, *(["`null`"] if optional else [])])
        case "list" | "tuple":
            if len(arguments) > 1 and arguments[-1] is not Ellipsis:
                return f"list: {', '.join(map(_words, arguments))}"
            return f"list of {_many(_words(arguments[0]))}" if arguments else "list"
        case "dict":
            return f"names, each with {_words(arguments[1])}" if arguments else "mapping"
        case "class":
            return "mapping"
    return _PLAIN.get(kind, "any value")


def _bounded(words: str, bounds: list[Any]) -> str:
    """A type with its constraints: `integer in [2, 100]`, `number > 0`, `list of integers, not empty`."""
    lows = [f"[{one.ge}" if isinstance(one, at.Ge) else f"({one.gt}" for one in bounds if isinstance(one, _LOW)]
    highs = [f"{one.le}]" if isinstance(one, at.Le) else f"{one.lt})" for one in bounds if isinstance(one, _HIGH)]
    low, high = next(iter(lows), None), next(iter(highs), None)
    if low is not None and high is not None:
        words += f" in {low}, {high}"
    elif low is not None:
        words += f" {'≥' if low[0] == '[' else '>'} {low[1:]}"
    elif high is not None:
        words += f" {'≤' if high[-1] == ']' else '<'} {high[:-1]}"
    unit = "characters" if words == _PLAIN[str] else "items"
    return ", ".join([words, *(text for one in bounds if (text := _length(one, unit)))])


def _length(bound: Any, unit: str) -> str:
    match bound:
        case at.MinLen():
            return "not empty" if bound.min_length == 1 else f"at least {bound.min_length} {unit}"
        case at.MaxLen():
            return f"at most {bound.max_length} {unit}"
        case MustExist():
            return "must exist"
    return ""


def _code(value: Any) -> str:
    return f"`{_shown(value)}`"


def _many(words: str) -> str:
    head, space, rest = words.partition(" ")
    return f"{head}s{space}{rest}" if head in (*_PLAIN.values(), "component", "budget", "mapping") else words


def _or(texts: list[str]) -> str:
    *others, last = dict.fromkeys(texts)
    return f"{', '.join(others)} or {last}" if others else last


if __name__ == "__main__":
    from scalecore.plugins.registry import load_registry

    if sys.argv[1:]:
        print(render_plugins(load_registry(), sys.argv[1:]), end="")
    else:
        # The page is that of scalecore alone, whatever else is installed.
        print(render_reference(load_registry(no_plugins=True)), end="")
