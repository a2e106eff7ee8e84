"""The command itself: help, version, exit codes, and error messages."""

from __future__ import annotations

import importlib
import re
from typing import Any

import click
import pytest

import scalecore
from scalecore.api import errors
from scalecore.cli.main import COMMANDS, main
from scalecore.cli.plugin_commands import PROVIDERS, plugin_commands


def test_help_lists_every_command_with_its_line(invoke: Any) -> None:
    """`--help` shows the table of commands."""
    result = invoke("--help")

    assert result.exit_code == 0
    sections = result.output.partition("Studies:\n")[2].partition("\nPlugins:\n")[0]
    listed = dict(line.split(maxsplit=1) for line in sections.splitlines() if line.startswith("  "))
    assert {name: listed[name] for name in COMMANDS} == {name: text for name, (_, _, text) in COMMANDS.items()}
    assert set(listed) - set(COMMANDS) == set(PROVIDERS) - {"data"}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_of_the_table_exists(name: str, invoke: Any) -> None:
    """Module and attribute exist, and the command has a help text."""
    module, attribute, _ = COMMANDS[name]

    assert isinstance(getattr(importlib.import_module(module), attribute), click.Command)
    result = invoke(name, "--help")
    assert (result.exit_code, result.output.split("\n")[0].startswith(f"Usage: scalecore {name} ")) == (0, True)


def test_version(invoke: Any) -> None:
    """It is the version of the package."""
    assert invoke("--version").output == f"scalecore {scalecore.__version__}\n"


def test_an_unknown_command_suggests_the_nearest(invoke: Any) -> None:
    """A typo has the exit code of a wrong command line."""
    result = invoke("chekc")

    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1] == "Error: there is no command 'chekc'; did you mean 'check'?"
    answer = invoke("zzzz").stderr.splitlines()[-1]
    head, _, names = answer.partition("; the commands are ")
    assert head == "Error: there is no command 'zzzz'"
    assert set(COMMANDS) <= set(names.split(", ")) <= {*COMMANDS, *plugin_commands()}


def test_a_removed_command_names_its_replacement(invoke: Any) -> None:
    """With any arguments; it is not offered for completion either."""
    expected = (
        "the command 'audit' was removed in 0.2: use scalecore import PATH... --into EXPERIMENT --dry-run, which "
        "summarises results and checks each record\n"
    )
    for arguments in (["audit"], ["audit", "--help"], ["audit", "old.json", "--model", "patchtst"]):
        result = invoke(*arguments)
        assert (result.exit_code, result.stdout, result.stderr) == (2, "", expected)
    assert "audit" not in invoke("--help").stdout


@pytest.mark.parametrize(
    ("typed", "line"),
    [
        (["promote"], "scalecore evaluate"),
        (["promote", "--help"], "scalecore evaluate --help"),
        (["promote", "my studies/one", "--trial", "3"], "scalecore evaluate 'my studies/one' --trial 3"),
        (["schema", "--output", "a.json"], "scalecore plugins --schema --output a.json"),
    ],
)
def test_a_renamed_command_prints_the_new_command_line(typed: list[str], line: str, invoke: Any) -> None:
    """With the same arguments."""
    result = invoke(*typed)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == f"the command {typed[0]!r} was renamed in 0.2: {line}\n"
    assert f"  {typed[0]} " not in invoke("--help").stdout


def test_a_plugin_may_use_a_renamed_name(fake_plugin: Any, invoke: Any) -> None:
    """An installed command has priority."""
    code = "import click\n@click.command()\ndef promote():\n    click.echo('mine')\n"
    folder = fake_plugin("acme", entry_point="promote", module="fake_promote:promote", group="scalecore.commands")
    (folder / "fake_promote.py").write_text(code)
    assert invoke("promote").stdout == "mine\n"


def test_help_groups_seventeen_commands(invoke: Any) -> None:
    """In the order in which a study needs them; commands of other packages follow."""
    shown, groups = invoke("--help").stdout, {}
    for title, text in re.findall(r"^(\w+):\n((?:  .+\n)+)", shown, re.MULTILINE):
        groups[title] = re.findall(r"^  ([a-z]\w*)  ", text, re.MULTILINE)
    assert {title: groups[title] for title in ("Studies", "Results", "Setup")} == {
        "Studies": ["init", "check", "plan", "run", "status", "stop"],
        "Results": ["report", "analyze", "confirm", "evaluate", "predict", "import", "export"],
        "Setup": ["doctor", "verify", "plugins", "new"],
    }


def test_a_removed_option_names_its_replacement(invoke: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """An option that never existed has the usual error."""
    monkeypatch.setattr("scalecore.config.removed.REMOVED", {("command", "status --watch"): "use watch(1)"})
    for arguments in (["--watch", "studies/one"], ["studies/one", "--watch=2"]):
        result = invoke("status", *arguments)
        expected = "the option --watch of the command 'status' was removed in 0.2: use watch(1)\n"
        assert (result.exit_code, result.stdout, result.stderr) == (2, "", expected)
    for arguments in (["status", "--wait"], ["stop", "--watch"]):
        answer = invoke(*arguments).stderr.splitlines()[-1]
        # Click 8.2 writes a colon, later ones quotes.
        assert answer.replace(":", "").replace("'", "").startswith(f"Error No such option {arguments[1]}"), answer


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.ScalecoreError("no"), 1),
        (errors.ExperimentError("no"), 2),
        (errors.PluginError("no"), 3),
        (errors.DataError("no"), 4),
        (errors.RefusedError("no", guard="G22"), 5),
        (errors.StudyError("no"), 6),
    ],
)
def test_expected_errors_are_printed_plainly(
    invoke: Any, monkeypatch: pytest.MonkeyPatch, error: errors.ScalecoreError, code: int
) -> None:
    """The message on stderr without guard id, a specific exit code, nothing on stdout."""
    install(monkeypatch, error)

    result = invoke("check", "file")

    assert (result.exit_code, result.stdout, result.stderr) == (code, "", "no\n")


def test_ctrl_c_ends_with_one_word(invoke: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """An interrupted command has no traceback, and the exit code of shells."""
    install(monkeypatch, KeyboardInterrupt())

    result = invoke("check", "file")

    assert (result.exit_code, result.stdout, result.stderr) == (130, "", "interrupted\n")


def test_unexpected_errors_keep_their_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug is not hidden."""
    install(monkeypatch, ZeroDivisionError("a bug"))

    with pytest.raises(ZeroDivisionError):
        main(["check", "file"])


def install(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Make the command `check` raise the error."""

    def failing(path: str, **_: Any) -> None:
        raise error

    monkeypatch.setattr("scalecore.campaign.load.load_campaign", failing)
