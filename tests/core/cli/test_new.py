"""`scalecore new plugin` refuses what would not work, with one message, and writes nothing then."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from scalecore import __version__
from scalecore.cli.new import KINDS
from scalecore.scaffold.names import PLUGIN_KINDS

RULES = (
    "cannot name a plugin: use letters, digits, `-` and `_`, begin with a letter, end with a letter or digit; "
    "for instance my-model"
)


def test_the_kinds_are_those_of_the_scaffold() -> None:
    """The command lists them without importing it."""
    assert tuple(PLUGIN_KINDS) == KINDS


def test_a_package_is_written(invoke: Callable[..., Result], tmp_path: Path) -> None:
    """Into a folder of its name, or one inside the folder that is named; it says what to type next."""
    done = invoke("new", "plugin", "Deep_tcn", "--kind", "model", "--into", "plugins")
    assert done.exit_code == 0, done.stderr
    folder = Path("plugins/Deep_tcn")
    assert done.stdout.splitlines()[0] == f"{folder}: a package with the model 'Deep_tcn'"
    assert done.stdout.splitlines()[-5:] == [
        "next:",
        f"  cd {folder}",
        '  pip install --editable ".[test]"',
        "  pytest",
        "  scalecore run experiment.yaml",
    ]
    listed = {line.split()[0] for line in done.stdout.splitlines()[1:-5]}
    assert listed == {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert "class DeepTcnFamily:" in (folder / "src/deep_tcn/family.py").read_text()
    assert (folder / "src/deep_tcn/py.typed").read_text() == ""


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("my plugin", f"'my plugin' {RULES}"),
        ("../mine", f"'../mine' {RULES}"),
        ("2fast", f"'2fast' {RULES}"),
        ("mine-", f"'mine-' {RULES}"),
        ("modèle", f"'modèle' {RULES}"),
        ("class", "'class' cannot name a plugin: 'class' is a word of Python; try my-class"),
        ("Match", "'Match' cannot name a plugin: 'match' is a word of Python; try my-Match"),
        ("statistics", "'statistics' cannot name a plugin: Python has a module 'statistics'; try my-statistics"),
        ("linear", f"model 'linear' is provided by scalecore {__version__}; choose another name"),
        ("SCALECORE", f"the plugin scalecore {__version__} is installed under this name; choose another one"),
        ("builtin", f"scalecore {__version__} has a plugin 'builtin'; choose another name"),
        ("Acme", "the plugin acme 1.2 is installed under this name; choose another one"),
        ("my-model", "model 'my-model' is provided by acme 1.2; choose another name"),
        ("patchtst", "model 'patchtst' is that of scalecore-patchtst; choose another name"),
        ("numpy", "'numpy' cannot name a plugin: a module 'numpy' is installed; choose another name"),
    ],
)
def test_a_bad_name_is_refused(
    invoke: Callable[..., Result], mine: str, tmp_path: Path, name: str, message: str
) -> None:
    """Before anything is written, with exit code 2 and what to do."""
    before = {*tmp_path.iterdir()}
    done = invoke("new", "plugin", name, "--kind", "model")
    assert (done.exit_code, done.stderr) == (2, message + "\n")
    assert {*tmp_path.iterdir()} - {tmp_path / "__pycache__"} == before, "Python alone may keep what it compiled"


def test_a_folder_that_exists_is_not_touched(invoke: Callable[..., Result], tmp_path: Path) -> None:
    """Even an empty one, and a dangling link."""
    (tmp_path / "wide").mkdir()
    (tmp_path / "deep").symlink_to("nowhere")
    for name in ("wide", "deep"):
        done = invoke("new", "plugin", name, "--kind", "model")
        message = f"{name} exists; choose another name, or another folder with --into\n"
        assert (done.exit_code, done.stderr) == (2, message)
    assert list((tmp_path / "wide").iterdir()) == []


def test_a_place_that_cannot_be_written_is_named(invoke: Callable[..., Result], tmp_path: Path) -> None:
    """A file where a folder should be."""
    (tmp_path / "file").write_text("")
    done = invoke("new", "plugin", "wide", "--kind", "model", "--into", "file")
    assert done.exit_code == 2
    assert done.stderr == "file/wide: cannot be written (Not a directory)\n"


def test_a_kind_is_needed(invoke: Callable[..., Result]) -> None:
    """The message lists the kinds."""
    done: Any = invoke("new", "plugin", "wide", "--kind", "sampler")
    assert done.exit_code == 2
    for kind in KINDS:
        assert f"'{kind}'" in done.stderr
