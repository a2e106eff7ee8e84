"""Commands that distributions add by entry points."""

from __future__ import annotations

import re
import sys
from typing import Any

import pytest

import scalecore
from scalecore.cli.plugin_commands import PROVIDERS

CODE = """
import click

@click.group()
def sales():
    "Look after the sales."

@sales.command()
@click.argument("file")
def fetch(file):
    "Fetch the sales."
    click.echo(f"fetched {file}")
"""
GROUP = "scalecore.commands"


def test_a_plugin_adds_a_command(fake_plugin: Any, invoke: Any) -> None:
    """Listed by its distribution without importing it; errors and options are those of click."""
    fake_plugin("acme", entry_point="sales", module="fake_sales", group=GROUP, code=CODE)
    assert "Plugins:\n" in (listed := invoke("--help").stdout)
    assert "  sales  Provided by acme 1.0.\n" in listed
    assert "fake_sales" not in sys.modules


def test_the_command_is_imported_when_it_is_called(fake_plugin: Any, invoke: Any) -> None:
    """By the name of the entry point."""
    folder = fake_plugin("acme", entry_point="sales", module="fake_sales:sales", group=GROUP)
    (folder / "fake_sales.py").write_text(CODE)
    assert "Fetch the sales." in invoke("sales", "--help").stdout
    assert invoke("sales", "fetch", "a.csv").stdout == "fetched a.csv\n"
    wrong = invoke("sales", "fetsch")
    assert (wrong.exit_code, "No such command 'fetsch'" in wrong.stderr) == (2, True)
    assert invoke("slaes").stderr.endswith("there is no command 'slaes'; did you mean 'sales'?\n")
    sys.modules.pop("fake_sales")


def test_a_command_of_the_core_cannot_be_replaced(fake_plugin: Any, invoke: Any) -> None:
    """Whatever the entry point of a distribution is named."""
    fake_plugin("acme", entry_point="run", module="fake_run", group=GROUP, code="raise ValueError")
    assert invoke("--help").stdout.count("\n  run ") == 1
    assert invoke("run", "--help").stdout.startswith("Usage: scalecore run ")


@pytest.mark.parametrize(
    ("module", "code", "requires", "problem"),
    [
        (
            "fake_old:x",
            "x = 1",
            ["scalecore<0.2"],
            f" is incompatible: it requires scalecore <0.2, but this is scalecore {scalecore.__version__}",
        ),
        (
            "fake_old:x",
            "import nowhere",
            [],
            " cannot be imported from fake_old:x: ModuleNotFoundError: No module named 'nowhere'",
        ),
        (
            "fake_old:y",
            "x = 1",
            [],
            " cannot be imported from fake_old:y: AttributeError: module 'fake_old' has no attribute 'y'",
        ),
        ("fake_old:x", "x = 1", [], ": fake_old:x is 1, not a click command; report this to its author"),
    ],
)
def test_a_command_that_cannot_be_used_names_its_distribution(
    fake_plugin: Any, invoke: Any, module: str, code: str, requires: list[str], problem: str
) -> None:
    """All other commands work."""
    folder = fake_plugin("acme", version="3.1", entry_point="old", module=module, group=GROUP, requires=requires)
    (folder / "fake_old.py").write_text(code)
    done = invoke("old")
    assert (done.exit_code, done.stdout, done.stderr) == (3, "", f"the command 'old' of acme 3.1{problem}\n")
    assert "  old " in invoke("--help").stdout
    sys.modules.pop("fake_old", None)


def test_a_known_name_of_another_distribution_is_listed_as_its_own(
    fake_plugin: Any, invoke: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The help line of this project's package is used only for that package."""
    folder = fake_plugin("acme", entry_point="report", module="fake_sales:sales", group=GROUP)
    monkeypatch.setattr("scalecore.cli.plugin_commands.folders", lambda places: iter([*folder.glob("*.dist-info")]))
    assert "  report    Provided by acme 1.0.\n" in invoke("--help").stdout


def test_two_distributions_with_one_command_are_named(fake_plugin: Any, invoke: Any) -> None:
    """Neither command runs."""
    for name in ("acme", "zoo"):
        fake_plugin(name, entry_point="sales", module=f"fake_{name}", group=GROUP, code=CODE)
    done = invoke("sales")
    rivals = sorted(done.stderr.removeprefix("the command 'sales' is provided by ").partition(";")[0].split(" and "))
    assert (done.exit_code, rivals) == (3, ["acme 1.0", "zoo 1.0"])


@pytest.mark.parametrize("name", PROVIDERS)
@pytest.mark.parametrize("rest", [[], ["--help"], ["studies/one", "--json"]])
def test_a_command_whose_package_is_missing_says_what_to_install(
    name: str, rest: list[str], invoke: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With any arguments; `--help` lists it in its section as not installed."""
    monkeypatch.setattr("scalecore.cli.plugin_commands.folders", lambda places: iter(()))
    done = invoke(name, *rest)
    package, _ = PROVIDERS[name]
    assert (done.exit_code, done.stdout) == (3, "")
    assert done.stderr == f"the command {name!r} is not installed; `pip install {package}` provides it\n"
    shown = re.sub(r"  +", "  ", invoke("--help").stdout)
    assert f"\n  {name}  Not installed; {package} provides it.\n" in shown
    # Shell completion after it shows no traceback.
    monkeypatch.setenv("COMP_WORDS", f"scalecore {name} ")
    monkeypatch.setenv("COMP_CWORD", "2")
    monkeypatch.setenv("_SCALECORE_COMPLETE", "bash_complete")
    completed = invoke()
    assert (completed.exit_code, completed.stderr) == (0, "")


def test_metadata_of_another_form_is_read_too(fake_plugin: Any, invoke: Any) -> None:
    """That of older installers; a distribution without a name has no command."""
    folder = fake_plugin("acme", entry_point="sales", module="fake_sales:sales", group=GROUP)
    (folder / "fake_sales.py").write_text(CODE)
    (info,) = folder.glob("acme-*.dist-info")
    old = info.rename(folder / "acme-1.0.egg-info")
    (old / "METADATA").rename(old / "PKG-INFO")
    assert "fetch" in invoke("sales", "--help").stdout
    (old / "PKG-INFO").write_text("Metadata-Version: 2.1\n")
    assert "there is no command 'sales'" in invoke("sales").stderr
    sys.modules.pop("fake_sales")
