"""`scalecore new` creates a plugin in one file, or refuses with one message and writes nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from scalecore import __version__
from scalecore.cli.new import KINDS
from scalecore.scaffold.names import PLUGIN_KINDS
from scalecore.scaffold.plugin_files import USES

RULES = (
    "cannot name a plugin: use letters, digits, `-` and `_`, begin with a letter, end with a letter or digit, "
    "as in my-model"
)


def test_the_kinds_are_those_of_the_scaffold() -> None:
    """The command lists them without importing the scaffold."""
    assert tuple(PLUGIN_KINDS) == KINDS
    assert set(USES) == set(KINDS)


def test_a_file_and_its_test_are_written(invoke: Callable[..., Result], tmp_path: Path) -> None:
    """To this folder or another one; the output shows how to test and use the plugin."""
    done = invoke("new", "model", "Deep_tcn")
    assert done.exit_code == 0, done.stderr
    assert done.stdout == (
        f"deep_tcn.py: written, {len(Path('deep_tcn.py').read_text().splitlines())} lines\n"
        f"test_deep_tcn.py: written, {len(Path('test_deep_tcn.py').read_text().splitlines())} lines\n"
        "test it:\n"
        "  pytest test_deep_tcn.py\n"
        "use it in an experiment file:\n"
        "  plugins: [./deep_tcn.py]\n"
        "  model: {use: Deep_tcn, width: [8, 16, 32], depth: [1, 2]}\n"
    )
    assert "class DeepTcn:" in Path("deep_tcn.py").read_text()
    for folder, pytest_path, plugins in (
        ("a, b", "'a, b/test_deep_tcn.py'", "['./a, b/deep_tcn.py']"),
        (str(tmp_path / "c"), f"{tmp_path}/c/test_deep_tcn.py", f"[{tmp_path}/c/deep_tcn.py]"),
    ):
        done = invoke("new", "model", "Deep_tcn", "--into", folder)
        assert done.exit_code == 0, done.stderr
        assert done.stdout.splitlines()[3] == f"  pytest {pytest_path}"
        assert done.stdout.splitlines()[5] == f"  plugins: {plugins}"


def test_the_default_name_is_that_of_the_kind(invoke: Callable[..., Result], tmp_path: Path) -> None:
    """`my-KIND`, in `my_KIND.py`."""
    assert invoke("new", "strategy").exit_code == 0
    assert {path.name for path in tmp_path.iterdir()} >= {"my_strategy.py", "test_my_strategy.py"}


@pytest.mark.parametrize(
    ("kind", "name", "title"), [("logger", "logger", "MyLogger"), ("strategy", "Origin", "MyOrigin")]
)
def test_a_class_name_does_not_clash_with_imports(
    invoke: Callable[..., Result], kind: str, name: str, title: str
) -> None:
    """A clashing name is prefixed with `My`."""
    assert invoke("new", kind, name).exit_code == 0
    text = Path(f"{name.lower()}.py").read_text()
    assert f"class {title}" in text
    compile(text, name, "exec")


def test_a_package_is_written(invoke: Callable[..., Result], tmp_path: Path) -> None:
    """The same file as a distribution, in a folder with the plugin's name."""
    assert invoke("new", "executor", "my-farm").exit_code == 0
    done = invoke("new", "executor", "my-farm", "--package", "--into", "plugins")
    assert done.exit_code == 0, done.stderr
    folder = Path("plugins/my-farm")
    assert done.stdout.splitlines()[-6:] == [
        "install and test it:",
        f"  cd {folder}",
        '  pip install --editable ".[test]"',
        "  pytest",
        "use it in an experiment file:",
        '  execution: {use: my-farm, prefix: [nice, -n, "10"]}',
    ]
    listed = {line.partition(":")[0] for line in done.stdout.splitlines()[:-6]}
    assert listed == {str(path) for path in folder.rglob("*") if path.is_file()}
    assert (folder / "src/my_farm/__init__.py").read_text() == Path("my_farm.py").read_text()
    assert (folder / "tests/test_my_farm.py").read_text() == Path("test_my_farm.py").read_text()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("my plugin", f"'my plugin' {RULES}"),
        ("../mine", f"'../mine' {RULES}"),
        ("2fast", f"'2fast' {RULES}"),
        ("mine-", f"'mine-' {RULES}"),
        ("modèle", f"'modèle' {RULES}"),
        ("class", "'class' cannot name a plugin: 'class' is a keyword of Python; try my-class"),
        ("Match", "'Match' cannot name a plugin: 'match' is a keyword of Python; try my-Match"),
        ("statistics", "'statistics' cannot name a plugin: Python has a module 'statistics'; try my-statistics"),
        ("linear", "model 'linear' belongs to scalecore-torch; choose another name"),
        ("SCALECORE", f"the plugin scalecore {__version__} is installed under this name; choose another one"),
        ("builtin", f"scalecore {__version__} has a plugin 'builtin'; choose another name"),
        ("Acme", "the plugin acme 1.2 is installed under this name; choose another one"),
        ("my-model", "model 'my-model' is provided by acme 1.2; choose another name"),
        ("patchtst", "model 'patchtst' belongs to scalecore-patchtst; choose another name"),
        ("numpy", "'numpy' cannot name a plugin: a module 'numpy' is installed; choose another name"),
    ],
)
def test_a_bad_name_is_refused(
    invoke: Callable[..., Result], mine: str, tmp_path: Path, name: str, message: str
) -> None:
    """Before anything is written, with exit code 2 and a remedy."""
    before = {*tmp_path.iterdir()}
    done = invoke("new", "model", name)
    assert (done.exit_code, done.stderr) == (2, message + "\n")
    assert {*tmp_path.iterdir()} - {tmp_path / "__pycache__"} == before, "Python alone may keep what it compiled"


def test_an_existing_file_is_not_overwritten(invoke: Callable[..., Result], tmp_path: Path) -> None:
    """Even if only one of the files exists, or a dangling link."""
    (tmp_path / "test_wide.py").write_text("mine")
    (tmp_path / "deep.py").symlink_to("nowhere")
    for name, path in (("wide", "test_wide.py"), ("deep", "deep.py")):
        done = invoke("new", "model", name)
        message = f"{path} already exists; choose another name, or another folder with --into\n"
        assert (done.exit_code, done.stderr) == (2, message)
    assert not (tmp_path / "wide.py").exists()
    assert (tmp_path / "test_wide.py").read_text() == "mine"


def test_a_place_that_cannot_be_written_is_named(invoke: Callable[..., Result], tmp_path: Path) -> None:
    """A file in place of a folder."""
    (tmp_path / "file").write_text("")
    for options in ((), ("--package",)):
        done = invoke("new", "model", "wide", "--into", "file", *options)
        assert done.exit_code == 2
        assert done.stderr.startswith("file")
        assert done.stderr.endswith((": cannot be written (Not a directory)\n", ": cannot be written (File exists)\n"))


def test_a_training_function_is_named_as_target(invoke: Callable[..., Result]) -> None:
    """A training function is a plain file, not a plugin package."""
    done = invoke("new", "trainer", "loop", "--into", "a b")
    assert done.exit_code == 0, done.stderr
    assert done.stdout.splitlines()[-2:] == [
        "use it in an experiment file:",
        '  training: {use: function, target: "./a b/loop.py:train"}',
    ]
    done = invoke("new", "trainer", "loop", "--package")
    assert done.exit_code == 2
    assert done.stderr.endswith(
        "Error: --package: a training function needs no plugin package; put it in any module, and name it in the "
        "experiment file (target: my_module:train)\n"
    )


def test_a_kind_is_needed(invoke: Callable[..., Result]) -> None:
    """The message lists the kinds."""
    done: Any = invoke("new", "sampler")
    assert done.exit_code == 2
    for kind in KINDS:
        assert f"'{kind}'" in done.stderr


def test_the_old_form_names_the_new_one(invoke: Callable[..., Result]) -> None:
    """`new plugin NAME --kind KIND` of version 0.1."""
    done = invoke("new", "plugin", "wide", "--kind", "model")
    assert (done.exit_code, done.stderr) == (
        2,
        "the option --kind of the command 'new' was removed in 0.2: run scalecore new KIND NAME, which creates one "
        "file; --package creates a package\n",
    )
