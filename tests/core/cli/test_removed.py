"""Files that use removed features, as users of 0.1 have them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from scalecore.config.removed import REMOVED, removed

LOGGERS = [name for kind, name in REMOVED if kind == "logger" and "." not in name]


def text_of(name: str) -> str:
    text = removed("logger", name)
    assert text is not None
    return text


@pytest.mark.parametrize("command", ["check", "plan", "run"])
@pytest.mark.parametrize("name", LOGGERS)
def test_a_new_experiment_is_refused_with_one_line(name: str, command: str, invoke: Any, mine: str) -> None:
    """At its position, with the replacement and exit code 2; nothing is written."""
    for loggers, place in (
        (f"[my-logger, {name}]", "6:22: loggers.1"),
        (f"[{{use: {name}, path: somewhere}}]", "6:17: loggers.0.use"),
        (f"[{name}, my-logger, {name}]", "6:11: loggers.0"),
    ):
        text = Path(mine).read_text().replace("[my-logger]", loggers)
        Path("old.yaml").write_text(text)
        result = invoke(command, "old.yaml")
        stages = "reading old.yaml\n" if command != "check" else ""
        assert (result.exit_code, result.stdout) == (2, stages)
        assert result.stderr == f"old.yaml:{place}: {text_of(name)}\n"
    result = invoke(command, mine, f"loggers.0={name}")
    assert result.exit_code == 2
    assert result.stderr == f"<command line>: loggers.0={name}: {text_of(name)}\n"
    assert not Path("studies").exists()


@pytest.mark.parametrize("name", LOGGERS)
def test_a_new_campaign_is_refused_with_one_line(name: str, invoke: Any, mine: str) -> None:
    """Whether all of its studies use it or only a swept value."""
    text = Path(mine).read_text().replace("[my-logger]", f"[{name}]") + "sweep: {seed: [1, 2, 3]}\n"
    Path("old.yaml").write_text(text)
    result = invoke("check", "old.yaml")
    assert (result.exit_code, result.stderr) == (2, f"old.yaml:6:11: loggers.0: {text_of(name)}\n")
    Path("old.yaml").write_text(Path(mine).read_text() + f"sweep: {{loggers: [[my-logger], [{name}]]}}\n")
    result = invoke("check", "old.yaml")
    assert (result.exit_code, result.stderr) == (2, f"old.yaml:7:33: loggers.0: {text_of(name)}\n")


@pytest.mark.parametrize("name", LOGGERS)
def test_json_has_it_as_a_problem_of_the_file(name: str, invoke: Any, mine: str) -> None:
    """Like any other problem."""
    result = invoke("check", mine, f"loggers=[{name}]", "--json")
    assert (result.exit_code, result.stderr) == (2, "")
    (problem,) = json.loads(result.stdout)["problems"]
    assert (problem["kind"], problem["key"], problem["message"]) == ("file", "loggers.0", text_of(name))


@pytest.mark.parametrize("name", LOGGERS)
def test_the_file_of_a_begun_study_is_valid(name: str, invoke: Any, mine: str) -> None:
    """`check` warns like `run`, also for a campaign with a begun study."""
    text = Path(mine).read_text().replace("[my-logger]", f"[my-logger, {name}]")
    warning = f"warning: {text_of(name)}\n"
    Path("old.yaml").write_text(text)
    Path("studies/mine").mkdir(parents=True)
    Path("studies/mine/journal.jsonl").touch()
    result = invoke("check", "old.yaml")
    assert (result.exit_code, result.stderr) == (0, warning)
    assert "  loggers   my-logger (acme 1.2)\n" in result.stdout

    Path("studies/mine/journal.jsonl").unlink()
    Path("studies/mine/campaign.json").touch()
    Path("old.yaml").write_text(text + "sweep: {seed: [1, 2, 3]}\n")
    result = invoke("check", "old.yaml")
    assert (result.exit_code, result.stderr) == (0, warning)


@pytest.mark.parametrize("name", LOGGERS)
def test_a_command_with_its_name_has_the_same_message(name: str, invoke: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """`export` to a removed logger, and `analyze` with a removed analysis."""
    result = invoke("export", name, "studies/one")
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", f"{text_of(name)}\n")
    monkeypatch.setattr("scalecore.config.removed.REMOVED", {("analysis", name): "read the report"})
    result = invoke("analyze", name, "studies/one")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == f"analysis {name!r} was removed in 0.2: read the report\n"
