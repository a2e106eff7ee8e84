"""The schema for editors has every option of every installed plugin, and files name the schema."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pandas as pd
import pytest
from attrs import NOTHING

from scalecore.config.fields import fields_of
from scalecore.config.schema import experiment_schema
from scalecore.config.source import parse
from scalecore.plugins.kinds import KINDS
from scalecore.plugins.registry import Registry, load_registry

from .conftest import ROOT, scalecore

EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))
KEYS = {
    "trainer": "training",
    "executor": "execution",
    "monitor": "monitors",
    "logger": "loggers",
    "analysis": "analyses",
}


@pytest.fixture(scope="module")
def registry() -> Registry:
    return load_registry()


@pytest.fixture(scope="module")
def schema(registry: Registry) -> dict[str, Any]:
    return experiment_schema(registry)


def variants(part: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The mappings that a section of the schema allows."""
    yield from (one for one in part.get("items", part)["oneOf"] if "properties" in one)


def test_every_option_of_every_plugin_is_in_the_schema(registry: Registry, schema: dict[str, Any]) -> None:
    """Each has its description and default, including nested options."""
    jsonschema.Draft202012Validator.check_schema(schema)
    seen = 0
    for kind in KINDS:
        found = {
            name: one
            for one in variants(schema["properties"][KEYS.get(kind, kind)])
            for name in one["properties"]["use"]["enum"]
        }
        for component in registry.components(kind):
            properties = found[component.name]["properties"]
            assert properties["use"]["description"] == component.record.summary
            for one in fields_of(component.record.options):
                seen += 1
                shown = properties[one.name]
                assert one.help, f"{component.name}.{one.name}"
                assert shown["description"] == one.help
                assert one.default is NOTHING or shown["default"] == one.default
                assert one.required == (one.name in found[component.name]["required"])
    assert seen > 100
    for path, part in objects(schema, ()):
        if part.get("description") is None and path[-1] != "kind":
            raise AssertionError(f"no description: {'.'.join(path)}")


def objects(part: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    """Every property of every mapping in the schema."""
    if isinstance(part, list):
        for one in part:
            yield from objects(one, path)
    elif isinstance(part, dict):
        for name, one in part.get("properties", {}).items():
            yield (*path, name), one
            yield from objects(one, (*path, name))
        for key in ("oneOf", "anyOf", "items", "prefixItems", "additionalProperties"):
            yield from objects(part.get(key), path)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_names_the_schema_and_is_valid(path: Path, schema: dict[str, Any], tmp_path: Path) -> None:
    """Its first line is that of `scalecore init`, and `make install` writes the named file."""
    text = path.read_text(encoding="utf-8")
    name = "scalecore.schema.json"
    assert text.startswith(f"# yaml-language-server: $schema={name}\n")
    jsonschema.Draft202012Validator(schema).validate(parse(text, source=path.name).root)
    assert f"scalecore plugins --schema --output examples/{name}" in (ROOT / "Makefile").read_text()
    assert f"examples/{name}" in (ROOT / ".gitignore").read_text().splitlines()


def test_the_schema_marks_mistakes(schema: dict[str, Any]) -> None:
    """A misspelt option of a plugin and a value out of bounds are invalid."""
    good = parse((ROOT / "examples" / "quickstart.yaml").read_text(), source="quickstart.yaml").root
    for change in ({"patch_length": 3}, {"patch_len": 0}):
        assert not jsonschema.Draft202012Validator(schema).is_valid({**good, "model": {"use": "patchtst", **change}})


@pytest.mark.parametrize("purpose", ["prices", "forecast", "table"])
def test_init_writes_a_file_that_is_valid_by_the_schema(schema: dict[str, Any], tmp_path: Path, purpose: str) -> None:
    """With all packages installed it passes `check`, `plan` and the schema written beside it."""
    days = pd.date_range("2015-01-01", periods=1600).strftime("%Y-%m-%d")
    rows = [f"{day},{100 + index * 7919 % 13},{index % 2}" for index, day in enumerate(days)]
    (tmp_path / "t.csv").write_text("\n".join(["Date,Close,grade", *rows]) + "\n")
    done = scalecore("init", "mine.yaml", "--data", "t.csv", "--purpose", purpose, folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads((tmp_path / "scalecore.schema.json").read_text()) == schema
    jsonschema.Draft202012Validator(schema).validate(parse((tmp_path / "mine.yaml").read_text(), source="file").root)
    for command in ("check", "plan"):
        done = scalecore(command, "mine.yaml", folder=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
