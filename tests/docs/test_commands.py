"""The page of commands is generated from the commands and shows their recorded output."""

from __future__ import annotations

import importlib.util
import re
import runpy
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from scalecore.cli.main import COMMANDS
from scalecore.config.fields import fields_of
from scalecore.plugins.kinds import KINDS
from scalecore.plugins.registry import load_registry

from .conftest import ROOT, blocks, scalecore

OUTPUT = ROOT / "docs" / "reference" / "output"
PACKAGES = [
    path.parent.name
    for path in sorted(ROOT.glob("packages/scalecore-*/pyproject.toml"))
    if "[project.entry-points.scalecore]" in path.read_text()
]
"""The packages with components."""
STALE = "run `python .ci/record_docs.py --pages` with all packages installed"
COMMANDS_PAGE = runpy.run_path(str(ROOT / ".ci" / "reference_commands.py"))
render_plugins = runpy.run_path(str(ROOT / ".ci" / "reference_options.py"))["render_plugins"]
SILENT = {"data": "a group; its commands have output"}
"""Commands without recorded output, with the reason."""


@pytest.fixture(scope="module")
def record() -> ModuleType:
    """The script that records output and generates the pages."""
    spec = importlib.util.spec_from_file_location("record_docs", ROOT / ".ci" / "record_docs.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_of_commands_is_made_from_the_commands(handbook: dict[str, str]) -> None:
    """It has every command, subcommand and option of click."""
    assert handbook["reference/commands.md"] == COMMANDS_PAGE["render_commands"](OUTPUT), STALE


def test_the_page_of_plugins_is_made_from_the_options(handbook: dict[str, str]) -> None:
    """It has every option of every component of all packages."""
    assert handbook["reference/plugins.md"] == render_plugins(load_registry(), PACKAGES), STALE


def test_every_option_is_described_on_a_page(handbook: dict[str, str]) -> None:
    """Each row of commands and components has a description."""
    page = handbook["reference/commands.md"]
    for command, names in COMMANDS_PAGE["option_names"]().items():
        section = re.split(r"^#+ `", page.partition(f" `{command}`\n")[2], maxsplit=1, flags=re.MULTILINE)[0]
        shared = page.partition("\n## ")[0]
        for name in names:
            part = shared if name in COMMANDS_PAGE["_SHARED"] else section
            assert re.search(rf"^\| .*`[^`|]*{re.escape(name)}\b.* \| .{{8,}} \|$", part, re.MULTILINE), (
                command,
                name,
            )
    registry = load_registry()
    for kind in KINDS.values():
        for component in registry.components(kind.name):
            if component.provider in ("scalecore", *PACKAGES):
                assert all(one.help for one in fields_of(component.record.options)), component.name


def test_every_command_shows_its_output(record: ModuleType) -> None:
    """The page has a transcript of a run, and the help an example."""
    for name in COMMANDS:
        found = [OUTPUT / f"{name}.txt", *OUTPUT.glob(f"{name}-*.txt")]
        assert any(path.is_file() for path in found) or name in SILENT, name
    made = {file for file, _, _ in record.TRANSCRIPTS} | {"stop"}
    assert {path.stem for path in OUTPUT.glob("*.txt")} == made
    for path in OUTPUT.glob("*.txt"):
        assert path.read_text(encoding="utf-8").startswith("$ scalecore "), path
        assert "Traceback" not in path.read_text(encoding="utf-8"), path


def test_the_run_that_the_quickstart_shows_is_the_recorded_one(handbook: dict[str, str], record: ModuleType) -> None:
    """They are equal, except for omitted trials."""
    shown = record.shortened((OUTPUT / "run.txt").read_text(encoding="utf-8"))
    assert f"```console\n{shown}\n```\n" in handbook["quickstart.md"], STALE


def test_pages_are_made_where_no_run_was_recorded(
    tmp_path: Path, record: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The page that shows the run is unchanged, and the script reports it."""
    (tmp_path / "docs" / "reference").mkdir(parents=True)
    (tmp_path / "docs" / "quickstart.md").write_text("as before")
    monkeypatch.setattr(record, "ROOT", tmp_path)
    monkeypatch.setattr(record, "OUTPUT", tmp_path / "docs" / "reference" / "output")
    record.make_pages()
    assert capsys.readouterr().out == (
        "docs/reference/output/run.txt is missing: docs/quickstart.md is unchanged until `run` is recorded\n"
    )
    assert (tmp_path / "docs" / "quickstart.md").read_text() == "as before"
    assert (tmp_path / "docs" / "reference" / "commands.md").read_text().startswith("# Commands\n")


def labels(text: str) -> list[str]:
    """The first words of each line of an output, without numbers and values."""
    found = []
    for line in text.splitlines():
        words = re.match(r" *[A-Za-z_-]+(?: [a-z_]+)?", line)
        if words is not None:
            found.append(words[0].strip())
    return list(dict.fromkeys(found))


def test_the_recorded_output_is_what_the_commands_print_today(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shorter study of the same file prints all kinds of recorded lines."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    short = ["search.trials=2", "training.hyperparameters.epochs=1"]
    commands = {
        "check": ["check", "examples/quickstart.yaml"],
        "check-wrong": ["check", "examples/quickstart.yaml", "search.trails=5", "model.d_model=big"],
        "plan": ["plan", "examples/quickstart.yaml", *short],
        "run": ["run", "examples/quickstart.yaml", *short],
        "status": ["status", "studies/quickstart"],
        "verify": ["verify", "studies/quickstart"],
        "plugins": ["plugins"],
        "analyze": ["analyze"],
        "plugins-schema": ["plugins", "--schema"],
    }
    for name, arguments in commands.items():
        done = scalecore(*arguments, folder=tmp_path)
        recorded = (OUTPUT / f"{name}.txt").read_text(encoding="utf-8").partition("\n")[2]
        # A study of one epoch may end with another verdict.
        text = (done.stdout + done.stderr).replace(f"{tmp_path}/", "").replace("NOT better than", "better than")
        printed = set(labels(text))
        assert done.returncode == (2 if name == "check-wrong" else 0), done.stderr
        if name in ("check", "check-wrong"):
            assert done.stdout + done.stderr == recorded
        # Warnings depend on the machine.
        missing = [one for one in labels(recorded) if one not in printed and one not in ("ok", "warn")]
        assert not missing, f"{name}: run .ci/record_docs.py, which records {missing}"
    (code,) = [body for body in blocks(ROOT / "docs" / "operating.md", "python") if "read_predictions" in body]
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(compile(code.replace("studies/NAME", "studies/quickstart"), "operating.md", "exec"), names)
    assert len(names["difference"]) > 100
