"""The JSON Schema (draft 2020-12) of the experiment file, built from the attrs classes and the installed plugins."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import annotated_types as at
from attrs import NOTHING

from scalecore.api.options import Imported, ImportPath, Pattern
from scalecore.api.space import Distribution
from scalecore.config.constraints import bounds_of
from scalecore.config.experiment import (
    CONFIRM,
    DEFAULT_TRAINER,
    Budget,
    ComponentRef,
    Execution,
    Experiment,
    Search,
    Training,
    known_keys,
)
from scalecore.config.fields import OptionField, fields_of, kind_of, members_of
from scalecore.plugins.discovery import CORE
from scalecore.plugins.metadata import canonical_name
from scalecore.plugins.registry import known_provider

if TYPE_CHECKING:
    from collections.abc import Iterable

    from scalecore.plugins.registry import Registered, Registry


def _object(properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


_ENDS = {"type": "array", "minItems": 2, "maxItems": 2}
_INTEGERS = _ENDS | {"items": {"type": "integer"}, "description": "Whole numbers from low to high, inclusive."}
_DISTRIBUTION = {
    "oneOf": [
        *(
            _object({name: _ENDS | {"items": {"type": "number"}, "description": text}}, [name])
            for name, text in (
                ("uniform", "Any number from low to high."),
                ("log_uniform", "Any number from low to high, on a logarithmic scale."),
            )
        ),
        _object(
            {
                "int": _INTEGERS,
                "step": {"description": "Distance between two values.", "type": "integer", "minimum": 1},
                "log": {"description": "Whether the scale is logarithmic.", "type": "boolean"},
            },
            ["int"],
        ),
        _object(
            {
                "choice": {
                    "description": "One of these values.",
                    "type": "array",
                    "items": {"type": ["number", "string", "boolean"]},
                    "minItems": 1,
                }
            },
            ["choice"],
        ),
    ]
}
_BUDGET = {"type": ["integer", "string"], "exclusiveMinimum": 0, "pattern": r"^[0-9]+(\.[0-9]+)? ?[kKMB]?$"}
_PLAIN: dict[Any, dict[str, Any]] = {
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    str: {"type": "string"},
    Path: {"type": "string", "minLength": 1},
}
_IMPORT_PATH = {"type": "string", "pattern": r"^[^:].*:[^:]+$"}
_USE = {"description": "`module:Name`, or `./file.py:Name`.", **_IMPORT_PATH}
_IMPORTED = {"anyOf": [_IMPORT_PATH, {"type": "object", "properties": {"use": _USE}, "required": ["use"]}]}


def experiment_schema(registry: Registry) -> dict[str, Any]:
    """The schema, with the components of the registry and their options."""
    roles = {
        "dataset": _component(registry.components("dataset")),
        "model": _component(registry.components("model")),
        "search": _section(Search, registry.components("search")),
        "training": _section(Training, registry.components("trainer"), default=DEFAULT_TRAINER),
        "execution": _section(Execution, registry.components("executor"), default="local"),
        "monitors": {"type": "array", "items": _component(registry.components("monitor"))},
        "loggers": {"type": "array", "items": _component(registry.components("logger"))},
        "confirm": _confirm(registry),
        "analyses": {"type": "array", "items": _component(registry.components("analysis"))},
    }
    fields = list(fields_of(Experiment))
    properties = {one.name: _documented(one, roles.get(one.name) or _schema(one.type, ())) for one in fields}
    for name in ("training", "execution"):  # without `use`, it is the default component
        properties[name]["default"] = {k: v for k, v in properties[name]["default"].items() if k != "component"}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "scalecore experiment",
        **_object(properties, [one.name for one in fields if one.required]),
    }


def _component(components: Iterable[Registered]) -> dict[str, Any]:
    """A component: its bare name, if it requires no options, or a mapping with `use`."""
    variants: list[dict[str, Any]] = []
    bare: list[dict[str, Any]] = []
    for one in components:
        fields = list(fields_of(one.record.options))
        required = [field.name for field in fields if field.required]
        properties = {"use": _use(one), **_properties(fields)}
        variants.append({"description": one.record.summary, **_object(properties, ["use", *required])})
        if not required:
            bare.append(_use(one))
    if not variants:
        return {"type": ["string", "object"], "required": ["use"], "properties": {"use": {"type": "string"}}}
    return {"oneOf": [*bare, *variants]}


def _confirm(registry: Registry) -> dict[str, Any]:
    """`confirm:`, the options of the analysis of this name."""
    found = [one for one in registry.components("analysis") if one.name == CONFIRM]
    if not found:
        return {"type": ["object", "null"]}
    return {"anyOf": [_object(_properties(fields_of(found[0].record.options)), []), {"type": "null"}]}


def _use(component: Registered) -> dict[str, Any]:
    """The names of a component, with the description that editors show."""
    whole = f"{canonical_name(component.provider)}/{component.name}"
    names = [whole] if component.contested else [component.name, whole]
    return {"description": component.record.summary, "enum": names}


def _section(section: type, components: Iterable[Registered], default: str | None = None) -> dict[str, Any]:
    """`search:`, `training:` or `execution:`: the keys of the section and the options of its component."""
    keys = _properties([one for one in fields_of(section) if one.name in known_keys(section)])
    variants: list[dict[str, Any]] = []
    for one in components:
        fields = list(fields_of(one.record.options))
        required = [field.name for field in fields if field.required]
        properties = {"use": _use(one), **_properties(fields), **keys}
        own = canonical_name(one.provider) == (known_provider(one.kind, one.name) or CORE) or not one.contested
        use = [] if one.name == default and own else ["use"]
        variants.append({"description": one.record.summary, **_object(properties, [*use, *required])})
    if variants:
        return {"oneOf": variants}
    return {"type": "object", "properties": {"use": {"type": "string"}, **keys}, "required": [] if default else ["use"]}


def _properties(fields: Iterable[OptionField], inside: tuple[Any, ...] = ()) -> dict[str, Any]:
    return {one.name: _documented(one, _schema(one.type, inside)) for one in fields}


def _documented(field: OptionField, schema: dict[str, Any]) -> dict[str, Any]:
    documented = {"description": field.help, **schema} if field.help else dict(schema)
    if field.default is not NOTHING:
        documented["default"] = field.default
    return documented


def _schema(kind: Any, inside: tuple[Any, ...]) -> dict[str, Any]:
    """The schema of a type; `inside` are the enclosing classes, which end the recursion of a class in itself."""
    if kind == Distribution:
        return _DISTRIBUTION
    if kind is Budget:
        return _BUDGET
    if kind is ComponentRef:
        return _component(())
    if kind in (ImportPath, Imported):
        return _IMPORTED if kind is Imported else _IMPORT_PATH
    match kind_of(kind):
        case "annotated":
            return _bounded(kind, _schema(get_args(kind)[0], inside))
        case "literal":
            return {"enum": list(get_args(kind))}
        case "enum":
            return {"enum": [item.value for item in kind]}
        case "union":
            members, optional = members_of(kind)
            return {
                "anyOf": [*(_schema(member, inside) for member in members), *([{"type": "null"}] if optional else [])]
            }
        case "list":
            return {"type": "array", "items": _schema((*get_args(kind), Any)[0], inside)}
        case "tuple":
            return _tuple(get_args(kind), inside)
        case "dict":
            return {"type": "object", "additionalProperties": _schema((*get_args(kind), Any, Any)[1], inside)}
        case "class":
            if kind in inside:
                return {"type": "object"}
            fields = list(fields_of(kind))
            return _object(_properties(fields, (*inside, kind)), [one.name for one in fields if one.required])
    return _PLAIN.get(kind, {})


def _tuple(items: tuple[Any, ...], inside: tuple[Any, ...]) -> dict[str, Any]:
    if not items or items[-1] is Ellipsis:
        return {"type": "array", "items": _schema((*items, Any)[0], inside)}
    count = len(items)
    return {
        "type": "array",
        "prefixItems": [_schema(one, inside) for one in items],
        "minItems": count,
        "maxItems": count,
    }


def _bounded(kind: Any, schema: dict[str, Any]) -> dict[str, Any]:
    size = "Length" if schema.get("type") == "string" else "Properties" if schema.get("type") == "object" else "Items"
    for bound in bounds_of(kind):
        match bound:
            case at.Ge():
                schema = schema | {"minimum": bound.ge}
            case at.Gt():
                schema = schema | {"exclusiveMinimum": bound.gt}
            case at.Le():
                schema = schema | {"maximum": bound.le}
            case at.Lt():
                schema = schema | {"exclusiveMaximum": bound.lt}
            case at.MinLen():
                schema = schema | {f"min{size}": bound.min_length}
            case at.MaxLen():
                schema = schema | {f"max{size}": bound.max_length}
            case Pattern():
                schema = schema | {"pattern": f"^(?:{bound.regex})$"}
    return schema
