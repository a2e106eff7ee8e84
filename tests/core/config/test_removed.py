"""Removed features are refused in a new experiment and omitted from a begun study."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from scalecore.api.errors import ExperimentError
from scalecore.config.removed import REMOVED, removed, removed_from
from scalecore.config.resolve import load_resolved
from scalecore.plugins.kinds import KINDS
from scalecore.plugins.registry import Registry
from scalecore.store.layout import has_begun

TABLE = {
    ("logger", "stone"): "use files",
    ("logger", "console.bell"): "let the terminal ring",
    ("search", "oracle"): "use dice",
    ("analysis", "essay"): "read the report",
    ("monitor", "clock.alarm"): "look at the clock",
}

STONE = "logger 'stone' was removed in 0.2: use files"
BELL = "the option bell of logger 'console' was removed in 0.2: let the terminal ring"


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scalecore.config.removed.REMOVED", TABLE)


def test_the_table_has_kinds_and_replacements() -> None:
    """Every row has an existing kind, and its text follows a colon."""
    for (kind, name), text in REMOVED.items():
        assert kind in (*KINDS, "command")
        assert name == name.strip() != ""
        assert text == text.strip() != ""
        assert not text.endswith(".")


@pytest.mark.usefixtures("table")
@pytest.mark.parametrize(
    ("loggers", "messages"),
    [
        ("[console, stone]", [f"5:20: loggers.1: {STONE}"]),
        ("[{use: stone, path: a, deep: {b: 1}}]", [f"5:17: loggers.0.use: {STONE}"]),
        ("[scalecore/stone]", [f"5:11: loggers.0: {STONE}"]),
        ("[stone, console, stone]", [f"5:11: loggers.0: {STONE}"]),
        ("[stone, {use: stone, path: a}]", [f"5:11: loggers.0: {STONE}"]),
        ("[{use: console, bell: true}]", [f"5:26: loggers.0.bell: {BELL}"]),
        ("[{use: console, bell: true}, stone]", [f"5:26: loggers.0.bell: {BELL}", f"5:39: loggers.1: {STONE}"]),
        (
            "[{use: console, bells: true}]",
            ["5:26: loggers.0.bells: unknown key; the logger 'console' has no options"],
        ),
        ("[acme/stone]", None),
    ],
)
def test_a_new_experiment_is_refused_once_with_the_replacement(
    loggers: str, messages: list[str] | None, write: Any, small: str, registry: Registry
) -> None:
    """In any form, and instead of other messages about it."""
    name = write(small + f"loggers: {loggers}\n")
    with pytest.raises(ExperimentError if messages else Exception) as caught:
        load_resolved(name, registry=registry, begun=has_begun)
    if messages is None:  # of another distribution, which may have one
        assert "removed" not in str(caught.value)
    else:
        assert str(caught.value).splitlines() == [f"experiment.yaml:{one}" for one in messages]


@pytest.mark.usefixtures("table")
def test_an_override_is_refused_at_its_place(write: Any, small: str, registry: Registry) -> None:
    """The message names the command line."""
    with pytest.raises(ExperimentError) as caught:
        load_resolved(write(small), overrides=["loggers=[stone]"], registry=registry, begun=has_begun)
    assert str(caught.value) == f"<command line>: loggers=[stone]: loggers.0: {STONE}"


@pytest.mark.usefixtures("table")
def test_an_installed_component_of_that_name_takes_precedence(
    write: Any, small: str, registry: Registry, fake_plugin: Any
) -> None:
    """Another package may provide a logger with a removed name."""
    from scalecore.plugins.registry import load_registry

    code = "from scalecore import hookimpl\nfrom scalecore.api.components import LoggerRecord\n"
    code += "@hookimpl\ndef scalecore_loggers():\n"
    code += "    return [LoggerRecord(name='stone', summary='Carved.', factory=print)]\n"
    fake_plugin("quarry", code=code)
    both = load_registry(path=[str(fake_plugin.root)])
    _, resolved = load_resolved(write(small + "loggers: [stone]\n"), registry=both)
    assert [one.provider for one in resolved.loggers] == ["quarry"]
    experiment = {"loggers": [{"use": "stone"}]}
    assert removed_from(experiment, lambda kind, name: name in both.names(kind)) == []
    assert removed_from(experiment, lambda kind, name: name in registry.names(kind)) == [STONE]


@pytest.mark.usefixtures("table")
def test_a_begun_study_is_resumed_without_removed_loggers(
    write: Any, small: str, registry: Registry, tmp_path: Path
) -> None:
    """Loggers and analyses are omitted with one warning; components that affect results are refused."""
    (tmp_path / "studies" / "small").mkdir(parents=True)
    (tmp_path / "studies" / "small" / "journal.jsonl").touch()
    loggers = "loggers: [stone, {use: console, bell: true}, {use: stone, path: a}, files]\n"
    name = write(small + loggers + "analyses: [essay]\n")
    _, resolved = load_resolved(name, registry=registry, begun=has_begun)
    assert [one.use for one in resolved.loggers] == ["console", "files"]
    assert resolved.analyses == ()
    assert resolved.left_out == (STONE, BELL, "analysis 'essay' was removed in 0.2: read the report")

    name = write(small.replace("dice", "oracle") + "loggers: [stone]\nmonitors: [{use: clock, alarm: 7}]\n")
    with pytest.raises(ExperimentError) as caught:
        load_resolved(name, registry=registry, begun=has_begun)
    assert str(caught.value).splitlines() == [
        "experiment.yaml:4:15: search.use: search 'oracle' was removed in 0.2: use dice",
        "experiment.yaml:6:25: monitors.0.alarm: the option alarm of monitor 'clock' was removed in 0.2: look at the "
        "clock",
    ]


@pytest.mark.usefixtures("table")
def test_a_stored_experiment_is_searched_for_removed_parts() -> None:
    """Every removed part is named once, whatever else the file of the study contains."""
    kept: dict[str, Any] = {
        "search": {"use": "oracle"},
        "monitors": [{"use": "clock", "alarm": 1}],
        "loggers": [{"use": "stone"}, {"use": "scalecore/stone"}, None, 7, {"use": 3}, {"use": "console", "bell": 1}],
        "analyses": {"use": "essay"},
    }
    assert removed_from(kept, lambda kind, name: False) == [
        "search 'oracle' was removed in 0.2: use dice",
        STONE,
        BELL,
        "the option alarm of monitor 'clock' was removed in 0.2: look at the clock",
    ]
    assert removed_from({**kept, "plugins": ["/project/quarry.py"]}, lambda kind, name: False) == []
    for broken in (None, [], "stone", {"loggers": "stone"}):
        assert removed_from(broken, lambda kind, name: False) == []
    assert removed("logger", "files") is None
