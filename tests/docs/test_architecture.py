"""Compares the page on architecture, and each module named in the documentation, with the code."""

from __future__ import annotations

import ast
import configparser
import importlib
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
import yaml

from scalecore.testing.fakes import EXPERIMENT, write_walk

from .conftest import ROOT, markdown_files, prose

CORE = ROOT / "packages/scalecore/src/scalecore"
SOURCES = [*ROOT.glob("packages/*/src"), *ROOT.glob("examples/*/src")]
PAST = {"CHANGELOG.md", "migrating.md", "0.1.0.md", "0.2.0.md"}
"""Pages that name removed modules."""
PAGES = [path for path in markdown_files() if path.name not in PAST]
NO_MODULES = {"scalecore.commands", "scalecore.hash", "scalecore.json", "scalecore.schema.json", "scalecore.trial"}
"""A group of entry points, files and names in trackers, which are not modules."""
READERS = ("src/my", "my_", "recipes/")
"""Prefixes of files that the reader of a page writes."""
LARGEST = 0.15
"""Largest share of the core's lines in a room other than `api`."""


@pytest.fixture(scope="module")
def page() -> str:
    return (ROOT / "docs/architecture.md").read_text(encoding="utf-8")


def layers() -> list[str]:
    """The rooms of the core from top to bottom, from the configuration of import-linter."""
    linter = configparser.ConfigParser()
    linter.read(ROOT / ".importlinter")
    return linter["importlinter:contract:layers"]["layers"].split()


def modules(room: str) -> list[Path]:
    return sorted((CORE / room).rglob("*.py")) or [CORE / f"{room}.py"]


def lines(files: list[Path]) -> int:
    return sum(len(path.read_bytes().splitlines()) for path in files)


def imported(files: list[Path]) -> set[str]:
    """The rooms that modules import: at the top, in functions and for annotations."""
    found: set[str] = set()
    for path in files:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module:
                names = [f"{node.module}.{one.name}" for one in node.names]
            elif isinstance(node, ast.Import):
                names = [one.name for one in node.names]
            else:
                continue
            found |= {name.split(".")[1] for name in names if name.startswith("scalecore.")}
    return found


def test_the_table_of_rooms_is_the_core(page: str) -> None:
    """It has every room in the linter's order, with its imports and its share of the lines."""
    rows = re.findall(r"^\| `(\w+)/?` \| [^|]+ \| ([^|]+) \| (below 1|\d+) % \|$", page, re.MULTILINE)
    above = {"__main__", "testing"}
    assert [room for room, _, _ in rows] == [room for room in layers() if room not in above]
    for room, imports, share in rows:
        if room != "api":
            assert set(re.findall(r"`(\w+)`", imports)) == imported(modules(room)) & set(layers()) - {room}, room
        percent = 100 * lines(modules(room)) / lines(sorted(CORE.rglob("*.py")))
        assert abs(percent - (0 if share == "below 1" else int(share))) <= 1, room


def test_no_room_except_api_is_large() -> None:
    """A room with more than 15 % of the core's lines must be split."""
    total = lines(sorted(CORE.rglob("*.py")))
    shares = {room: lines(modules(room)) / total for room in layers()}
    assert {room for room, share in shares.items() if share > LARGEST} <= {"api"}


def test_the_counted_lines_are_those_of_the_code(page: str) -> None:
    """The rounded figures differ by less than 5 %."""
    (total,) = re.findall(r"wc -l`: ([\d,]+) in all packages", page)
    rows = re.findall(r"^\| ([\d,]+) \| `(packages/[\w/-]+)` \|$", page, re.MULTILINE)
    assert len(rows) >= 5
    every = [path for folder in ROOT.glob("packages/*/src") for path in folder.rglob("*.py")]
    for figure, folder in [(total, "packages"), *rows]:
        counted = lines([path for path in every if path.is_relative_to(ROOT / folder)])
        assert counted == pytest.approx(int(figure.replace(",", "")), rel=0.05), folder


def test_the_table_of_packages_is_that_of_their_metadata(page: str) -> None:
    """It has each package with its dependencies on scalecore's packages and on others."""
    rows = re.findall(r"^\| `(scalecore[\w-]*)` \| [^|]+ \| ([^|]+) \| ([^|]+) \|$", page, re.MULTILINE)
    found = {
        path.parent.name: tomllib.loads(path.read_text("utf-8")) for path in ROOT.glob("packages/*/pyproject.toml")
    }
    assert {name for name, _, _ in rows} == found.keys()
    for name, ours, others in rows:
        needed = {re.split(r"[<>=\[]", text)[0] for text in found[name]["project"]["dependencies"]}
        assert set(re.findall(r"`(scalecore[\w-]*)`", ours)) == {one for one in needed if one.startswith("scalecore")}
        assert set(others.split(", ")) <= {*needed, "each tracker is an extra"}, name


def test_the_functions_of_the_page_are_in_their_files(page: str) -> None:
    """`name` (`file.py`) is a class, a function or a method in that file."""
    named = re.findall(r"((?:`[\w.]+`(?:, )?)+) \(`([\w/.-]+\.py)`\)", page)
    assert len(named) > 50
    for names, file in named:
        places = [root / part / file for root in SOURCES for part in ("", "scalecore")]
        (path,) = [place for place in places if place.exists()]
        defined: set[str] = set()
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                defined.add(node.name)
                defined |= {f"{node.name}.{one.name}" for one in node.body if isinstance(one, ast.FunctionDef)}
        for name in re.findall(r"`([\w.]+)`", names):
            assert name in defined, f"{file}: {name}"


TRACED = """
import runpy, sys
from pathlib import Path
wanted, sys.argv, seen = sys.argv[1].split(), sys.argv[2:], set()
names = {one.partition(":")[0] for one in wanted}

def called(frame, event, _):
    if event == "call" and frame.f_code.co_qualname in names:
        file = Path(frame.f_code.co_filename).as_posix()
        seen.update(f"{frame.f_code.co_qualname}:{one}" for one in files if file.endswith(f"/{one}"))

files = {one.partition(":")[2] for one in wanted}
sys.setprofile(called)
try:
    runpy.run_module("scalecore", run_name="__main__")
finally:
    sys.setprofile(None)
    print("called", *sorted(seen.intersection(wanted)), file=sys.stderr)
"""
"""Runs a command and prints which of the functions `NAME:FILE` it called."""


@pytest.mark.slow
def test_the_walk_of_a_trial_is_that_of_a_study(page: str, tmp_path: Path) -> None:
    """A run and a report call the functions of the table; the journal has its events in the same order."""
    (table,) = re.findall(r"^\| step \| process .*?\n\n", page, re.MULTILINE | re.DOTALL)
    rows = re.findall(r"^\| [^|]+ \| ([^|]+) \| (.+) \| (.*)\|$", table, re.MULTILINE)[1:]
    write_walk(tmp_path)
    search = {**EXPERIMENT["search"], "trials": 1}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump({**EXPERIMENT, "search": search, "output": "study"}))
    for process, command in (("driver", ["run", "study.yaml"]), ("`scalecore report`", ["report", "study"])):
        text = " ".join(functions for who, functions, _ in rows if who == process)
        wanted = {f"{name}:{file}" for name, file in re.findall(r"`([\w.]+)` \(`([\w/.]+)`\)", text)}
        done = subprocess.run(
            [sys.executable, "-c", TRACED, " ".join(wanted), "scalecore", *command],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert set(done.stderr.splitlines()[-1].split()[1:]) == wanted, process
    events = [json.loads(line)["event"] for line in (tmp_path / "study/journal.jsonl").read_text().splitlines()]
    shown = [event for _, _, left in rows if "journal:" in left for event in re.findall(r"`(\w+)`", left)]
    assert [event for event in events if event != "phase"] == shown


def test_the_errors_of_the_memory_formula_are_those_of_the_page(page: str) -> None:
    """Fits the formula to the benchmark's shapes and compares it with the replay."""
    kept = json.loads((ROOT / "benchmarks/results/memory.json").read_text(encoding="utf-8"))["rows"]
    rows = [row for row in kept if row["set"] != "largest"]
    tensors, measured, replayed = (
        np.array([row[key] for row in rows]) for key in ("tensors_mib", "measured_mib", "predicted_mib")
    )
    terms = np.stack([tensors / measured, 1 / measured], axis=1)
    (factor, constant), *_ = np.linalg.lstsq(terms, np.ones(len(rows)))
    said = []
    for predicted in (factor * tensors + constant, replayed):
        ratio = predicted / measured
        said.append(f"{100 - 100 * ratio.min():.0f} % low to {100 * ratio.max() - 100:.0f} % high")
    assert re.findall(r"\d+ % low to \d+ % high", page) == said
    assert f"the {len(rows)} shapes" in page


def exists(name: str) -> bool:
    """Whether a dotted name is a module or an attribute of one."""
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        try:
            thing = importlib.import_module(".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        for one in parts[end:]:
            fields = getattr(thing, "__attrs_attrs__", ())
            if not hasattr(thing, one) and one not in {field.name for field in fields}:
                return False
            thing = getattr(thing, one, None)
        return True
    return False


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_modules_that_a_page_names_exist(path: Path) -> None:
    """Checks dotted names of scalecore's packages, and files of sources, tests and benchmarks."""
    files = [one.relative_to(ROOT).as_posix() for root in SOURCES for one in root.rglob("*.py")]
    for span in re.findall(r"`([^`\n]+)`", prose(path)):
        for name in re.findall(r"(?<![\w./-])scalecore(?:_[a-z]+)?(?:\.[A-Za-z_]\w*)+", span):
            assert name in NO_MODULES or exists(name), name
        if re.fullmatch(r"(?:[a-z_]+/)+[a-z_]+\.py", span) and not span.startswith(READERS):
            places = (ROOT / span, path.parent / span)
            assert any(one.exists() for one in places) or any(one.endswith(f"/{span}") for one in files), span
