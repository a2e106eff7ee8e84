"""The key `confirm`: the options of the analysis of this name, which runs before the other analyses."""

from __future__ import annotations

import json
from typing import Any

import pytest

from scalecore.api.errors import ExitCode, ScalecoreError
from scalecore.config.experiment_json import to_plain
from scalecore.config.resolve import load_resolved
from scalecore.config.schema import experiment_schema
from scalecore.plugins.registry import Registry, load_registry
from scalecore.store.identity import binding, unbound

CODE = """
from typing import Annotated
from annotated_types import Ge
from attrs import frozen
from scalecore import hookimpl
from scalecore.api.components import AnalysisRecord, NoOptions
from scalecore.api.options import option

@frozen(kw_only=True)
class Options:
    '''Options of a test.'''
    top: Annotated[int, Ge(1)] = option(3, help="Trials.")
    seeds: Annotated[int, Ge(1)] = option(5, help="Seeds.")

@hookimpl
def scalecore_analyses():
    return [
        AnalysisRecord(name="confirm", summary="Confirms.", options=Options, factory=lambda options: None),
        AnalysisRecord(name="laws", summary="Fits.", options=NoOptions, factory=lambda options: None),
    ]
"""


@pytest.fixture
def analyses(fake_plugin: Any, registry: Registry) -> Registry:
    """The registry with the analyses `confirm` and `laws`."""
    fake_plugin("fresh", version="1.0", code=CODE)
    return load_registry(path=[str(fake_plugin.root)])


def test_it_is_the_first_analysis(write: Any, small: str, analyses: Registry) -> None:
    """With its defaults filled in; the stored experiment has the key and loads as the same experiment."""
    file = write(small + "analyses: [laws]\nconfirm: {seeds: 4}\n")
    _, resolved = load_resolved(file, registry=analyses)
    assert [one.use for one in resolved.analyses] == ["confirm", "laws"]
    plain = to_plain(resolved)
    assert (plain["confirm"], plain["analyses"]) == ({"top": 3, "seeds": 4}, [{"use": "laws"}])
    _, again = load_resolved(write(json.dumps(plain)), registry=analyses)
    assert to_plain(again) == plain


def test_g22_it_changes_no_identity(write: Any, small: str, analyses: Registry) -> None:
    """A finished study may be confirmed later by adding the key; without it nothing is stored."""
    _, without = load_resolved(write(small), registry=analyses)
    _, with_it = load_resolved(write(small + "confirm: {}\n"), registry=analyses)
    assert "confirm" not in to_plain(without)
    first, second = (binding(to_plain(one), unbound(one)) for one in (without, with_it))
    assert first == second


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("confirm: {tops: 2}", "confirm.tops: unknown key; did you mean 'top'?"),
        ("confirm: {top: 0}", "confirm.top: must be at least 1, got 0"),
        ("confirm: yes please", "confirm: expected a mapping or null, got string 'yes please'"),
        ("confirm: {}\nanalyses: [confirm]", "confirm: `analyses` lists confirm too; remove one of them"),
    ],
)
def test_a_wrong_value_is_reported_at_the_key(
    write: Any, small: str, analyses: Registry, line: str, message: str
) -> None:
    """With its position in the file, exit code 2."""
    with pytest.raises(ScalecoreError) as caught:
        load_resolved(write(f"{small}{line}\n"), registry=analyses)
    assert caught.value.exit_code is ExitCode.BAD_FILE
    assert str(caught.value).partition(": ")[2] == message


def test_without_the_analysis_the_package_is_named(write: Any, small: str, registry: Registry) -> None:
    """Exit code 3."""
    with pytest.raises(ScalecoreError) as caught:
        load_resolved(write(f"{small}confirm: {{top: 1}}\n"), registry=registry)
    assert caught.value.exit_code is ExitCode.PLUGIN
    assert "analysis 'confirm' is not installed; `pip install scalecore-analysis` provides it" in str(caught.value)


def test_the_schema_has_the_options_of_the_analysis(analyses: Registry, registry: Registry) -> None:
    """Editors complete them; without the analysis any mapping is accepted."""
    known = experiment_schema(analyses)["properties"]["confirm"]["anyOf"][0]
    assert set(known["properties"]) == {"top", "seeds"}
    assert experiment_schema(registry)["properties"]["confirm"]["type"] == ["object", "null"]
