"""The documentation contains everything that users and plugin authors need, and only what exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from scalecore.api import hookspecs
from scalecore.api.errors import ExitCode
from scalecore.api.trials import StudyEnd, TrialState
from scalecore.cli.main import COMMANDS
from scalecore.cli.plugin_commands import PROVIDERS
from scalecore.config.removed import REMOVED, RENAMED
from scalecore.plugins.kinds import KINDS
from scalecore.plugins.registry import load_registry
from scalecore.store.identity import FREE

from .conftest import ROOT, blocks, markdown_files, prose

CHARACTERS = 100
"""A line of this length fits in a window of 1,280 pixels. A block of the site is 748 pixels wide there, less 29 for
padding; a character takes 6.92 in DejaVu Sans Mono, which is wider than Consolas and Menlo, and 7.11 in SF Mono.
"""
WRAPPED = ("bash", "console", "text")
"""Languages of blocks in which a line may wrap: output, and commands with comments."""
HOOKS = sorted(name for name in vars(hookspecs) if name.startswith("scalecore_"))


def test_every_hook_has_a_recipe(handbook: dict[str, str]) -> None:
    """A heading with its name and code that implements it."""
    assert sorted(kind.hook for kind in KINDS.values()) == HOOKS
    text = handbook["writing-plugins.md"]
    for hook in HOOKS:
        assert re.search(rf"^## .*`{hook}`$", text, re.MULTILINE), hook
        assert f"@hookimpl\ndef {hook}():" in text, hook


def test_every_command_is_explained(handbook: dict[str, str]) -> None:
    """The page on operating a study names each command."""
    for name in (*COMMANDS, *PROVIDERS):
        assert re.search(rf"(`|^\$ )scalecore {name}\b", handbook["operating.md"], re.MULTILINE), name


def test_removed_commands_are_on_the_migration_page(handbook: dict[str, str]) -> None:
    """Each removed or renamed command has a row in the table."""
    gone = {name for kind, name in REMOVED if kind == "command" and " " not in name} | set(RENAMED)
    for name in gone:
        assert re.search(rf"^\| [^|]*the command `{name}`[^|]*\|", handbook["migrating.md"], re.MULTILINE), name


def test_the_table_of_exit_codes_is_the_enum(handbook: dict[str, str]) -> None:
    """It lists exactly the codes of the enum, with their names."""
    rows = re.findall(r"^\| (\d+) \| `(\w+)` \|", handbook["operating.md"], re.MULTILINE)
    codes = {(str(int(code)), code.name) for code in ExitCode}
    assert {row for row in rows if row[0] != "130"} == codes
    assert len(rows) == len(set(rows))


def test_every_state_is_explained(handbook: dict[str, str]) -> None:
    """The states of trials and runs are explained."""
    for state in (*TrialState, *StudyEnd):
        assert f"`{state}`" in handbook["failures.md"], state


def test_every_built_in_component_is_documented(handbook: dict[str, str]) -> None:
    """The reference of the experiment file has it under its kind."""
    registry = load_registry(no_plugins=True)
    components = [(kind, one.name) for kind in KINDS for one in registry.components(kind)]
    assert len(components) >= 5
    for kind, name in components:
        assert f"### {kind} `{name}`" in handbook["reference/experiment-file.md"], name
        assert f"`{name}`" in "".join(text for path, text in handbook.items() if "reference" not in path), name


def test_what_may_change_on_resume_is_listed(handbook: dict[str, str]) -> None:
    """Exactly the keys that are free, and the whole search."""
    free = {".".join(filter(None, (section, key))) for section, keys in FREE.items() for key in keys}
    free = free - {"search.trials"} | {"search"}
    (line,) = re.findall(r"May change: (.*?)\.\n", handbook["operating.md"], re.DOTALL)
    assert set(re.findall(r"`([\w.]+)`", line)) == free


def test_commands_in_the_documentation_exist() -> None:
    """Each `scalecore NAME` in code is a command, each `make NAME` a target."""
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {"quickstart", "test"} <= targets
    for path in markdown_files():
        spans = re.findall(r"`([^`\n]+)`", prose(path))
        lines = [line.removeprefix("$ ") for body in blocks(path, "console") for line in body.splitlines()]
        for code in [*spans, *lines]:
            if match := re.match(r"(?:python -m )?scalecore ([a-z][\w-]*)", code):
                before = RENAMED if path.name == "CHANGELOG.md" else ()  # of an earlier version
                assert match[1] in {*COMMANDS, *PROVIDERS, *before}, f"{path}: {code}"
            if match := re.match(r"make ([a-z]+)", code):
                assert match[1] in targets, f"{path}: {code}"


def test_the_readme_has_the_two_commands() -> None:
    """Both commands can be copied."""
    lines = [line for body in blocks(ROOT / "README.md", "console") for line in body.splitlines()]
    typed = [line.split("#")[0].strip() for line in lines]
    assert "$ make quickstart" in typed
    assert "$ make test" in typed


def templates() -> set[str]:
    """Every string of the sources, with `…` for each inserted value."""
    found: set[str] = set()
    for path in (ROOT / "packages").glob("*/src/**/*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(node.value)
            elif isinstance(node, ast.JoinedStr):
                found.add("".join(p.value if isinstance(p, ast.Constant) else "…" for p in node.values))
    return found


def quoted() -> list[str]:
    """The messages in the tables of the page on troubleshooting."""
    text = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    return re.findall(r"^\| \*([^*\n]+)\* \|", text, re.MULTILINE)


@pytest.fixture(scope="module")
def sources() -> set[str]:
    return templates()


@pytest.mark.parametrize("message", quoted())
def test_a_quoted_message_is_a_real_one(message: str, sources: set[str]) -> None:
    """The sources contain it word for word, except for values at `…`."""
    plain = message.replace("\\|", "|")
    assert any(plain in re.sub(r"\s+", " ", text) for text in sources)


def test_messages_are_quoted() -> None:
    """The page has its tables."""
    assert len(quoted()) >= 100


def test_files_named_as_part_of_a_study_are_those_of_a_study() -> None:
    """The table of files has all paths of the layout module."""
    text = (ROOT / "docs" / "operating.md").read_text(encoding="utf-8")
    source = (ROOT / "packages/scalecore/src/scalecore/store/layout.py").read_text(encoding="utf-8")
    names = re.findall(r'(?:self\.path / |Below\()"([^"]+)"', source)
    assert {"journal.jsonl", "STOP", "data"} <= set(names)
    for name in names:
        assert re.search(rf"`{re.escape(name)}[`/]", text), name


def test_packages_have_readme_and_changelog() -> None:
    """Each changelog begins with the current version."""
    for package in sorted((ROOT / "packages").iterdir()):
        if not (package / "pyproject.toml").exists():
            continue
        version = re.search(r'^version = "(.+)"', (package / "pyproject.toml").read_text(), re.MULTILINE)
        assert version is not None, package
        assert (package / "README.md").exists()
        headings = re.findall(r"^## (\S+)", (package / "CHANGELOG.md").read_text(), re.MULTILINE)
        assert headings[headings[0] == "Unreleased"] == version[1], package


def test_no_page_names_a_place_of_this_machine() -> None:
    """The documentation applies to any machine."""
    for path in markdown_files():
        assert not re.search(r"(?<![\w.])/(?:work|tmp|home|root)/", path.read_text(encoding="utf-8")), path


def slug(heading: str) -> str:
    """The anchor of a heading on GitHub."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


@pytest.mark.parametrize("path", markdown_files(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_relative_links_resolve(path: Path) -> None:
    """The file exists and has the heading."""
    text = re.sub(r"`[^`\n]*`", "", prose(path))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        there = path if not name else (path.parent / name)
        assert there.exists(), f"{path}: {target}"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", prose(there), re.MULTILINE)
            assert anchor in {slug(heading) for heading in headings}, f"{path}: {target}"


@pytest.mark.parametrize("path", sorted((ROOT / "docs").rglob("*.md")), ids=lambda path: path.stem)
def test_lines_of_code_fit_without_wrapping(path: Path) -> None:
    """This applies to code and to text diagrams, which have no language; tests/site measures all blocks."""
    languages = set(re.findall(r"^```(\w*)\n", path.read_text(encoding="utf-8"), re.MULTILINE)) - set(WRAPPED)
    lines = [line for language in languages for body in blocks(path, language) for line in body.splitlines()]
    assert [line for line in lines if len(line) > CHARACTERS] == []
