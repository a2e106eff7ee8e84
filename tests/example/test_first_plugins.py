"""Execute docs/first-plugins.md from beginning to end: run its commands, write its files, compare its output."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from .conftest import ROOT, Environment

PAGE = ROOT / "docs" / "first-plugins.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def shown(text: str, output: str) -> str | None:
    """The first line of a page's output that the real one does not have, after the lines before it; None if it has all.

    `...` stands for any text in a line, and for any lines where it stands alone.
    """
    rest = output.splitlines()
    for line in filter(lambda line: line != "...", text.splitlines()):
        pattern = ".*".join(map(re.escape, line.split("...")))
        while rest and not re.fullmatch(pattern, rest[0]):
            rest.pop(0)
        if not rest:
            return line
        rest.pop(0)
    return None


def test_output_is_compared_in_order() -> None:
    """A line that is missing or in another order is found."""
    assert shown("a\n...\nc 1...\n", "a\nb\nc 12\n") is None
    assert shown("a\nd\n", "a\nb\n") == "d"
    assert shown("b\na\n", "a\nb\n") == "a"


def test_the_page_can_be_followed(environment: Environment, tmp_path: Path) -> None:
    """Each command succeeds and prints the output on the page."""
    folder, commands = tmp_path, 0
    for language, body in BLOCK.findall(PAGE.read_text(encoding="utf-8")):
        if language != "console":
            name = re.match(r"# (\S+)\n", body)
            assert name is not None, f"a block of {language} names no file: {body}"
            assert name[1] == "glu.yaml" or (folder / name[1]).exists(), f"{name[1]} changes nothing"
            (folder / name[1]).write_text(body)
            continue
        for step in re.split(r"^\$ ", body.replace("\\\n", ""), flags=re.MULTILINE)[1:]:
            command, _, text = step.partition("\n")
            commands += 1
            program, *arguments = shlex.split(command)
            assert program in ("scalecore", "pytest")
            done = environment.run(program, *arguments, folder=folder)
            assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
            missing = shown(text, done.stdout)
            assert missing is None, f"{command}: {missing!r} is not in {done.stdout}"
    assert commands == 10


@pytest.mark.parametrize(("plugin", "lines"), [("my_glu", 45), ("my_median", 60)])
def test_a_plugin_is_at_most_sixty_lines(plugin: str, lines: int) -> None:
    """The lines that the author of each plugin writes, without blank lines."""
    bodies = [body for _, body in BLOCK.findall(PAGE.read_text(encoding="utf-8")) if body.startswith(f"# {plugin}.py")]
    (body,) = bodies
    assert sum(bool(line.strip()) for line in body.splitlines()) <= lines
