"""The page of commands is made from the commands, and shows what they really print."""

from __future__ import annotations

import re

from scalecore.cli.reference import option_names, render_commands
from scalecore.config.fields import fields_of
from scalecore.config.reference import render_plugins
from scalecore.plugins.kinds import KINDS
from scalecore.plugins.registry import load_registry

from .conftest import ROOT

OUTPUT = ROOT / "docs" / "reference" / "output"
PACKAGES = sorted(path.parent.name for path in ROOT.glob("packages/scalecore-*/pyproject.toml"))
STALE = "run `python .ci/record_docs.py --pages` with all packages installed"


def test_the_page_of_commands_is_made_from_the_commands(handbook: dict[str, str]) -> None:
    """Every command, subcommand and option as click knows it."""
    assert handbook["reference/commands.md"] == render_commands(OUTPUT), STALE


def test_the_page_of_plugins_is_made_from_the_options(handbook: dict[str, str]) -> None:
    """Every option of every component of every package of this project."""
    assert handbook["reference/plugins.md"] == render_plugins(load_registry(), PACKAGES), STALE


def test_every_option_is_on_a_page_and_says_what_it_does(handbook: dict[str, str]) -> None:
    """Of commands and of components: no row without a meaning."""
    page = handbook["reference/commands.md"]
    for command, names in option_names().items():
        section = re.split(r"^#+ `", page.partition(f" `{command}`\n")[2], maxsplit=1, flags=re.MULTILINE)[0]
        for name in names:
            assert re.search(rf"^\| .*`[^`|]*{re.escape(name)}\b.* \| .{{8,}} \|$", section, re.MULTILINE), (
                command,
                name,
            )
    registry = load_registry()
    for kind in KINDS.values():
        for component in registry.components(kind.name):
            if component.provider in ("scalecore", *PACKAGES):
                assert all(one.help for one in fields_of(component.record.options)), component.name
