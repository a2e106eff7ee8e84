"""An experiment file as text that explains itself: what was chosen, and every other option with its default.

Options that are not given stand as `#key: default` at their place in the file, below their help. Whoever removes every
such `#` has the same experiment, and so has whoever removes none.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args

import annotated_types as at
from attrs import NOTHING, field, frozen

from scalecore.api.options import MustExist
from scalecore.config.bounds import bounds_of
from scalecore.config.experiment import ComponentRef, Execution, Experiment, Search
from scalecore.config.fields import OptionField, fields_of, is_class, kind_of, members_of
from scalecore.config.forms import known_keys
from scalecore.config.source import dump
from scalecore.plugins.registry import Registered

__all__ = ["Components", "example_values", "experiment_text", "file_option", "required_options"]

FILL_IN = "CHANGE-ME"
"""What stands for a required text."""

WIDTH = 100


@frozen(kw_only=True)
class Components:
    """What an experiment file shall use; `others` are installed and not chosen, by the key that would name them."""

    dataset: Registered
    model: Registered
    search: Registered
    executor: Registered
    monitors: Sequence[Registered] = ()
    loggers: Sequence[Registered] = ()
    analyses: Sequence[Registered] = ()
    others: Mapping[str, Sequence[str]] = field(factory=dict)

    def of(self, key: str) -> Sequence[Registered]:
        """The components below a key of the experiment file."""
        found = getattr(self, "executor" if key == "execution" else key)
        return found if isinstance(found, Sequence) else (found,)


def required_options(component: Registered) -> list[OptionField]:
    """The options of a component that have no default."""
    return [one for one in fields_of(component.record.options) if one.required]


def file_option(component: Registered) -> OptionField | None:
    """The first option of a component that names a file which must exist: of a dataset, its data."""
    return next((one for one in fields_of(component.record.options) if _must_exist(one.type)), None)


def example_values(component: Registered) -> dict[str, Any]:
    """`use`, and a value of the right form for each required option, which a person should look at."""
    values = {one.name: _example(one.type) for one in required_options(component)}
    return {"use": component.use, **values}


def experiment_text(components: Components, given: Mapping[str, Any], *, head: Sequence[str] = ()) -> str:
    """The file: `given` are the values that stand in it as its keys, all else are comments; `head` are its first lines.

    `given` has the form of an experiment file, with a mapping for every component.
    """
    lines = [f"# {text}" for text in head]
    for one in fields_of(Experiment):
        lines += ["", *_comment(one.help, 0)]
        if one.name == "sweep":
            lines += ["# sweep:", "#   search.budget: [2M, 20M]"]
        elif one.name in ("monitors", "loggers", "analyses", "dataset", "model", "search", "execution"):
            lines += _components(one.name, components, given)
        else:
            lines += _option(one, given, indent=0, active=True, helped=True)
    return "\n".join(lines) + "\n"


# --- lines ----------------------------------------------------------------------------------------------------------


def _components(key: str, components: Components, given: Mapping[str, Any]) -> Iterator[str]:
    """The lines of a key that names one component or a list of them."""
    others = components.others.get(key, ())
    if others:
        yield from _comment(f"Installed too: {', '.join(others)}.", 0)
    chosen = components.of(key)
    active = key in given
    if not chosen:
        yield f"{'' if active else '#'}{key}: []"
        return
    yield f"{'' if active else '#'}{key}:"
    several = key in ("monitors", "loggers", "analyses")
    contents = given.get(key, ()) if several else [given.get(key, {})]
    for component, content in zip(chosen, contents, strict=True):
        indent = 2 if several else 1
        yield from _comment(component.record.summary, 1)
        yield f"  {'- ' if several else '' if active else '#'}use: {component.use}"
        section = {"search": Search, "execution": Execution}.get(key)
        if section is not None:
            for one in fields_of(section):
                if one.name in known_keys(section):
                    yield from _option(one, content, indent=indent, active=active)
        for one in fields_of(component.record.options):
            yield from _option(one, content, indent=indent, active=active)


def _option(
    one: OptionField,
    given: Mapping[str, Any],
    *,
    indent: int,
    active: bool,
    helped: bool = False,
    defaults: Mapping[str, Any] | None = None,
) -> Iterator[str]:
    """Help and line of one option; `defaults` are those of the mapping around it, where it differs from its class."""
    pad = "  " * indent
    if not helped:
        yield from _comment(one.help, indent)
    here = active and one.name in given
    default = (defaults or {}).get(one.name, one.default)
    value = given[one.name] if here else default
    if value is NOTHING:  # a required option of a mapping that is not given
        return
    mark = "" if here else "#"
    inner = _class_of(one.type, value)
    if inner is not None:
        below = list(fields_of(inner))
        if here and not value:
            value = {below[0].name: below[0].default}
        yield f"{pad}{mark}{one.name}:"
        for child in below:
            kept = None if here else value
            yield from _option(child, value if here else {}, indent=indent + 1, active=here, defaults=kept)
    elif here and isinstance(value, dict) and value:
        yield f"{pad}{one.name}:"
        for key, item in value.items():
            yield f"{pad}  {_flow(key)}: {_flow(item)}"
    else:
        yield f"{pad}{mark}{one.name}: {_flow(value)}" + (" # required" if one.required else "")


def _comment(text: str, indent: int) -> Iterator[str]:
    pad = "  " * indent
    for line in textwrap.wrap(text, WIDTH - len(pad) - 2):
        yield f"{pad}# {line}"


def _flow(value: Any) -> str:
    """A value on one line, as the experiment file is read."""
    text = dump(value, default_flow_style=True, width=float("inf"))
    return text.removesuffix("\n").removesuffix("\n...")


# --- types ----------------------------------------------------------------------------------------------------------


def _class_of(kind: Any, value: Any) -> type | None:
    """The attrs class that the mapping `value` of this type is written by; None for what is no such mapping."""
    if not isinstance(value, dict) or kind is ComponentRef:
        return None
    match kind_of(kind):
        case "class":
            found: type = kind
            return found
        case "annotated":
            return _class_of(get_args(kind)[0], value)
        case "union":
            classes = [one for one in (_class_of(member, value) for member in members_of(kind)[0]) if one is not None]
            return next((one for one in classes if _takes(one, value)), None)
    return None


def _takes(cls: type, value: Mapping[str, Any]) -> bool:
    """Whether the mapping has only keys of the class, and none of its literals is another's."""
    fields = {one.name: one.type for one in fields_of(cls)}
    return all(
        key in fields and (kind_of(fields[key]) != "literal" or item in get_args(fields[key]))
        for key, item in value.items()
    )


def _must_exist(kind: Any) -> bool:
    if kind_of(kind) == "union":
        return any(_must_exist(member) for member in members_of(kind)[0])
    return kind_of(kind) == "annotated" and any(isinstance(bound, MustExist) for bound in bounds_of(kind))


def _example(kind: Any) -> Any:
    """A value of this type within its bounds, as far as they can be met without knowing what it means."""
    arguments = get_args(kind)
    match kind_of(kind):
        case "annotated":
            return _within(_example(arguments[0]), arguments[0], bounds_of(kind))
        case "literal":
            return arguments[0]
        case "enum":
            return next(iter(kind)).value
        case "union":
            members, optional = members_of(kind)
            return None if optional else _example(members[0])
        case "list":
            return []
        case "tuple":
            return [] if not arguments or arguments[-1] is Ellipsis else [_example(one) for one in arguments]
        case "dict":
            return {}
        case "class":
            return {one.name: _example(one.type) for one in fields_of(kind) if one.required} if is_class(kind) else {}
    return {bool: False, int: 1, float: 1.0}.get(kind, FILL_IN)


def _within(value: Any, kind: Any, bounds: Sequence[Any]) -> Any:
    for bound in bounds:
        match bound:
            case at.Ge() | at.Gt():
                low: Any = bound.ge if isinstance(bound, at.Ge) else bound.gt
                value = max(value, low if isinstance(bound, at.Ge) else low + 1)
            case at.Le() | at.Lt():
                high: Any = bound.le if isinstance(bound, at.Le) else bound.lt
                value = min(value, high if isinstance(bound, at.Le) else high / 2)
            case at.MinLen() if isinstance(value, list):
                items = (*get_args(kind), str)
                value = [_example(items[0]) for _ in range(bound.min_length)]
    return value
