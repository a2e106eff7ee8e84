"""The JSON Schema agrees with the checks, and the reference has every key."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import attrs
import jsonschema
import pytest

from scalecore.api.errors import ScalecoreError
from scalecore.config import experiment as classes
from scalecore.config.resolve import load_resolved
from scalecore.config.schema import experiment_schema
from scalecore.config.source import parse
from scalecore.plugins.registry import Registry, load_registry

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "reference" / "experiment-file.md"
render_reference = runpy.run_path(str(ROOT / ".ci" / "reference_options.py"))["render_reference"]

RIGHT = [
    "seed: 3",
    "output: out",
    "objective: {metric: auc, direction: maximize}",
    "training: {gradient_clip: null, micro_batch: 4, early_stopping: {patience: 3}}",
    "training: {micro_batch: auto, hyperparameters: {anything: 1}}",
    "execution: {slots: 2}",
    "execution: {use: local, retry: {crash: 1}}",
    "monitors: [clock, {use: clock, sides: 3}]",
    "loggers: []",
]
WRONG = [
    "seed: -1",
    "seed: '3'",
    "seed: 1.5",
    "output: ''",
    "zzz: 1",
    "objective: {direction: up}",
    "objective: []",
    "training: {gradient_clip: 0}",
    "training: {micro_batch: full}",
    "training: {zzz: 1}",
    "training: {early_stopping: {patience: 0}}",
    "execution: {slots: 0}",
    "execution: {use: nowhere}",
    "execution: {zzz: 1}",
    "monitors: clock",
    "monitors: [{sides: 3}]",
    "monitors: [nothing]",
    "monitors: [{use: clock, zzz: 3}]",
    "monitors: [{use: clock, sides: x}]",
]
SEARCHES = [
    ("sides: 3", True),
    ("budget: 2M", True),
    ("budget: 5", True),
    ("budget: 2X", False),
    ("budget: 0", False),
    ("budget: null", True),
    ("tolerance: 1", False),
    ("tolerance: 0.5", True),
    ("trials: 0", False),
    ("sides: x", False),
    ("zzz: 1", False),
    ("space: {a: {uniform: [0, 1]}, b: {int: [1, 4], log: true}, c: {choice: [x]}}", True),
    ("space: {a: {uniform: [0]}}", False),
    ("space: {a: {int: [1, 2], stpe: 1}}", False),
    ("space: {a: {choice: []}}", False),
    ("space: {a: 5}", False),
    ("exclude: a", False),
]
MODELS = [
    ("{use: toy, width: 8}", True),
    ("toy", False),
    ("plain", True),
    ("{use: plain}", True),
    ("bench/plain", True),
    ("{use: bench/toy, width: 8}", True),
    ("{use: other/toy, width: 8}", False),
    ("{use: plain, width: 3}", False),
    ("{use: toy, width: 65}", False),
    ("{use: toy, width: 8, color: blue, level: 2, rate: 1, size: [1, 2], names: {a: 1}, tags: [a, b]}", True),
    ("{use: toy, width: 8, color: green}", False),
    ("{use: toy, width: 8, level: 3}", False),
    ("{use: toy, width: 8, size: [1]}", False),
    ("{use: toy, width: 8, size: [1, x]}", False),
    ("{use: toy, width: 8, names: {a: 1, b: 2, c: 3}}", False),
    ("{use: toy, width: 8, tags: [a]}", False),
    ("{use: toy, width: 8, parts: [{size: 2, label: null}]}", True),
    ("{use: toy, width: 8, parts: [{size: 0}]}", False),
    ("{use: toy, width: 8, cache: auto, other: [1, {a: 2}]}", True),
]


def check_agreement(write: Any, registry: Registry, text: str, *, right: bool) -> None:
    """The checks and the schema give the same result."""
    schema = experiment_schema(registry)
    assert jsonschema.Draft202012Validator(schema).is_valid(parse(text, source="f.yaml").root) is right
    if right:
        load_resolved(write(text), registry=registry)
    else:
        with pytest.raises(ScalecoreError):
            load_resolved(write(text), registry=registry)


def test_the_schema_is_a_schema(registry: Registry) -> None:
    """It is valid for its draft, and plain JSON."""
    schema = experiment_schema(registry)

    jsonschema.Draft202012Validator.check_schema(schema)
    assert json.loads(json.dumps(schema, allow_nan=False)) == schema
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"


@pytest.mark.parametrize(("line", "right"), [(line, True) for line in RIGHT] + [(line, False) for line in WRONG])
def test_the_schema_agrees_on_sections(write: Any, small: str, registry: Registry, line: str, *, right: bool) -> None:
    """Editors mark the same errors as `scalecore check`."""
    check_agreement(write, registry, f"{small}{line}\n", right=right)


@pytest.mark.parametrize(("line", "right"), SEARCHES)
def test_the_schema_agrees_on_the_search(write: Any, small: str, registry: Registry, line: str, *, right: bool) -> None:
    """Keys of the section and options of the strategy are in one mapping."""
    check_agreement(write, registry, small.replace("{use: dice}", f"\n  use: dice\n  {line}"), right=right)


@pytest.mark.parametrize(("model", "right"), MODELS)
def test_the_schema_agrees_on_components(
    write: Any, small: str, registry: Registry, model: str, *, right: bool
) -> None:
    """The schema also checks options of plugins."""
    check_agreement(write, registry, small.replace("{use: toy, width: 8}", model), right=right)


def test_the_schema_has_help_and_defaults(registry: Registry) -> None:
    """An editor shows the description and the default of a key."""
    properties = experiment_schema(registry)["properties"]

    assert properties["seed"] == {
        "description": "Seed of all random draws.",
        "type": "integer",
        "minimum": 0,
        "exclusiveMaximum": 2**63,
        "default": 0,
    }
    assert properties["loggers"]["default"] == ["console", "files"]
    (dice,) = properties["search"]["oneOf"]
    assert dice["properties"]["sides"] == {"description": "Faces of the dice.", "type": "integer", "default": 6}
    assert dice["properties"]["use"] == {"description": "Chance.", "enum": ["dice", "bench/dice"]}


def test_every_default_is_valid_by_the_schema(registry: Registry) -> None:
    """An editor may insert it into the file."""

    def defaults(part: Any) -> None:
        if isinstance(part, dict):
            if "default" in part:
                jsonschema.validate(part["default"], part)
            for one in (*part.get("properties", {}).values(), *part.get("oneOf", []), part.get("items")):
                defaults(one)

    defaults(experiment_schema(registry))


def test_a_schema_without_plugins_accepts_any_component(tmp_path: Path) -> None:
    """Without installed plugins, the schema accepts any name."""
    schema = experiment_schema(load_registry(path=[str(tmp_path)]))

    tree = {"name": "a", "dataset": "any", "model": {"use": "any", "size": 3}, "search": {"use": "any"}}
    assert jsonschema.Draft202012Validator(schema).is_valid(tree)
    assert not jsonschema.Draft202012Validator(schema).is_valid(tree | {"search": {}})


def test_every_key_has_help() -> None:
    """The reference needs a description of each key."""
    for name in ("Experiment", "Search", "Objective", "Training", "EarlyStopping", "Execution", "Retry", "Guards"):
        for one in attrs.fields(getattr(classes, name)):
            assert one.name == "component" or one.metadata.get("help"), f"{name}.{one.name}"


def test_the_reference_has_every_key_and_component(registry: Registry) -> None:
    """One row has key, constraints, default and help; nested keys follow their parent."""
    page = render_reference(registry)

    assert f"| `seed` | integer in [0, {2**63}) | `0` | Seed of all random draws. |" in page
    assert "| `early_stopping` | mapping or `null` |  | When to stop early; `null` for never. |" in page
    assert "| `early_stopping.patience` | integer ≥ 1 | `10` |" in page
    assert "| `loggers` | list of components | `[console, files]` | Where to write results. |" in page
    assert "### model `toy`\n\nA toy. From `bench`.\n" in page
    assert "| `width` | integer in [2, 64] | required | Units. |" in page
    assert "| `color` | `red` or `blue` | `red` | A color. |" in page
    assert "| `size` | list: integer, number | `[1, 2.0]` | Two numbers. |" in page
    assert "| `cache` | path or `auto` | `auto` | A folder \\| or `auto`. |" in page
    assert "| `file` | path, must exist or `null` | `null` | Where it is read from. |" in page
    assert "| `target.kind` | `above` | `above` |  |" in page
    assert "| `names` | names, each with integer, at most 2 items | `{}` | Numbers by name. |" in page
    assert "### model `plain`\n\nNo options. From `bench`.\n\nIt has no options." in page
    for name in ("Search", "Objective", "Training", "Execution", "Guards"):
        for one in attrs.fields(getattr(classes, name)):
            assert one.name == "component" or f"| `{one.name}` |" in page


def test_the_committed_reference_is_up_to_date() -> None:
    """docs/reference/experiment-file.md is generated from the classes; run the command that it names."""
    assert PAGE.read_text(encoding="utf-8") == render_reference(load_registry(no_plugins=True))


def test_a_contested_name_is_written_with_its_distribution(write: Any, registry: Registry, fake_plugin: Any) -> None:
    """An editor offers both full names and marks the plain name, as the check does."""
    fake_plugin("rival", code=fake_plugin.model("plain"))
    both = load_registry(path=[str(fake_plugin.root)])
    text = "{name: a, dataset: table, search: {use: dice}, model: MODEL}\n"

    for model, right in (("plain", False), ("bench/plain", True), ("rival/plain", True), ("{use: rival/plain}", True)):
        check_agreement(write, both, text.replace("MODEL", model), right=right)
