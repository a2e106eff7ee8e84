"""Python files as plugins, named in the experiment file: `plugins: [./my_model.py]`."""

from __future__ import annotations

import inspect
import os
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from scalecore.cli.main import main
from scalecore.planning.versions import source_hash
from scalecore.plugins.discovery import Status
from scalecore.plugins.registry import load_registry

MODEL = """\
from attrs import frozen
from scalecore import hookimpl
from scalecore.api.components import ModelRecord
from scalecore.api.options import option
from scalecore.api.space import ArchitectureSpace

@frozen(kw_only=True)
class Options:
    width: int = option(4, help="How wide.")

class Family:
    def __init__(self, options):
        self.options = options

    def hyperparameters(self):
        return []

    def architecture_space(self, data):
        return ArchitectureSpace(dimensions={}, architectures=({},))

    def build(self, architecture, hyperparameters, data):
        raise NotImplementedError

@hookimpl
def scalecore_models():
    return [ModelRecord(name="mine", summary="Mine.", options=Options, factory=Family)]
"""
HEAD = """\
name: t
dataset: {use: parquet, path: t.csv, features: [a], target: {kind: label, column: b}}
search: {use: random, trials: 1, space: {learning_rate: {log_uniform: [1e-4, 1e-3]}}}
"""


@pytest.fixture(autouse=True)
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write the data that `HEAD` names to the working directory."""
    monkeypatch.chdir(tmp_path)
    Path("t.csv").write_text("Date,a,b\n2020-01-01,1,0\n")


def check(file: str, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["check", file, *arguments, "--no-plugins"])


def test_a_file_is_a_plugin(tmp_path: Path) -> None:
    """Its name is the distribution, a hash of its content the version; imports of `__future__` are not inherited."""
    path = tmp_path / "my-model.py"
    path.write_text(MODEL)
    registry = load_registry(no_plugins=True, files=[path])
    found = registry.get("model", "mine")
    assert (found.provider, found.status, len(found.version)) == ("my-model.py", Status.OK, 12)
    assert found.record.options.__annotations__ == {"width": int}
    assert registry.get("model", "my-model.py/mine") == found
    assert not list(tmp_path.glob("__pycache__"))


def test_only_the_file_that_is_needed_is_loaded(tmp_path: Path) -> None:
    """An attempt loads only the plugin of its model: neither other files nor installed plugins."""
    Path("mine.py").write_text(MODEL)
    Path("other.py").write_text("raise ValueError")
    registry = load_registry(only="mine.py", files=["other.py", "mine.py"])
    assert [one.distribution for one in registry.plugins] == ["scalecore", "mine.py"]
    assert registry.default("model", "mine").name == "mine"


def test_an_edited_file_is_another_plugin_and_a_moved_one_the_same(tmp_path: Path) -> None:
    """The hash of the code depends on the content, not on the folder or the file's time [G26]."""

    def code(path: Path) -> tuple[str, str]:
        found = load_registry(no_plugins=True, files=[path]).get("model", "mine")
        assert os.path.samefile(inspect.getfile(found.record.factory), path)
        return found.version, source_hash([found.record.factory.__module__])

    path, moved = tmp_path / "mine.py", tmp_path / "there" / "mine.py"
    path.write_text(MODEL)
    first = code(path)
    moved.parent.mkdir()
    path.rename(moved)
    assert code(moved) == first
    moved.write_text(MODEL.replace("(4,", "(5,"))
    os.utime(moved, (time.time(), 0))
    second = code(moved)
    assert second[0] != first[0]
    assert second[1] != first[1]
    assert load_registry(no_plugins=True, files=[moved]).get("model", "mine").record.options().width == 5


@pytest.mark.parametrize(
    ("files", "plugins", "message"),
    [
        ({}, "[mine.py]", "plugins.0: FOLDER/mine.py cannot be read (No such file or directory)"),
        ({"mine.txt": MODEL}, "[mine.txt]", "plugins.0: FOLDER/mine.txt is not a .py file"),
        ({"mine.py/x": ""}, "[mine.py]", "plugins.0: FOLDER/mine.py cannot be read (Is a directory)"),
        (
            {"mine.py": "def (:"},
            "[mine.py]",
            "plugins.0: importing FOLDER/mine.py failed: SyntaxError: invalid syntax (mine.py, line 1)",
        ),
        (
            {"mine.py": "import os\nos.nothing"},
            "[mine.py]",
            "plugins.0: importing FOLDER/mine.py failed: AttributeError: module 'os' has no attribute 'nothing' "
            "(FOLDER/mine.py, line 2)",
        ),
        (
            {"mine.py": MODEL.replace("scalecore_models", "scalecore_model")},
            "[mine.py]",
            "plugins.0: it defines scalecore_model, which is not a hook; did you mean scalecore_models?",
        ),
        (
            {"mine.py": MODEL, "a/mine.py": MODEL},
            "[mine.py, a/mine.py]",
            "plugins.1: two plugins are named mine.py; rename one of the files, or remove it here",
        ),
    ],
)
def test_problems_of_a_file_are_reported_where_it_is_named(
    tmp_path: Path, files: dict[str, str], plugins: str, message: str
) -> None:
    """With file and line of the experiment, and the exit code of plugins; even if none of its components is used."""
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    Path("e.yaml").write_text(f"{HEAD}model: linear\nplugins: {plugins}\n")
    done = check("e.yaml")
    assert done.exit_code == 3, done.output
    assert done.stderr.count("\n") == 1
    column = 11 if "plugins.0" in message else 20
    assert done.stderr == f"e.yaml:5:{column}: {message.replace('FOLDER', str(tmp_path))}\n"


def test_plugins_that_are_not_a_list_are_reported_once() -> None:
    """Like any other value of the experiment file."""
    Path("e.yaml").write_text(f"{HEAD}model: linear\nplugins: mine.py\n")
    done = check("e.yaml")
    assert (done.exit_code, done.stderr) == (2, "e.yaml:5:10: plugins: expected a list, got string 'mine.py'\n")


def test_paths_are_taken_from_the_folder_of_the_experiment_file(tmp_path: Path) -> None:
    """Also those of overrides, and from another working directory; `--no-plugins` excludes only installed plugins."""
    folder = tmp_path / "a folder"
    folder.mkdir()
    (tmp_path / "t.csv").rename(folder / "t.csv")
    (folder / "mine.py").write_text(MODEL)
    for text, override in (("plugins: [./mine.py]\n", ()), ("", ("plugins=[mine.py]",))):
        (folder / "e.yaml").write_text(f"{HEAD}model: {{use: mine, width: 5}}\n{text}")
        done = check("a folder/e.yaml", *override)
        assert (done.exit_code, done.stderr) == (0, "")
        version = load_registry(no_plugins=True, files=[folder / "mine.py"]).get("model", "mine").version
        assert f"  model     mine (mine.py {version})\n" in done.stdout


def test_a_command_line_adds_files(tmp_path: Path) -> None:
    """From the working directory, in addition to those of the experiment file."""
    folder = tmp_path / "a folder"
    folder.mkdir()
    (tmp_path / "t.csv").rename(folder / "t.csv")
    (tmp_path / "mine: [1].py").write_text(MODEL)
    (folder / "other.py").write_text(MODEL.replace("mine", "other"))
    for text in ("", "plugins: [./other.py]\n"):
        (folder / "e.yaml").write_text(f"{HEAD}model: {{use: mine, width: 5}}\n{text}")
        done = check("a folder/e.yaml", "-p", "mine: [1].py")
        assert (done.exit_code, done.stderr) == (0, "")
    for file, problem in (
        ("none.py", f"{tmp_path}/none.py cannot be read (No such file or directory)"),
        (
            "a folder/other.py",
            "two plugins are named other.py; rename one of the files, or remove it here",
        ),
    ):
        done = check("a folder/e.yaml", "-p", file, "model=linear")
        assert (done.exit_code, done.stderr) == (
            3,
            f'<command line>: plugins.+="{tmp_path}/{file}": {problem}\n',
        )


def test_doctor_accepts_files_only_with_an_experiment() -> None:
    """Otherwise no experiment could use them."""
    done = CliRunner().invoke(main, ["doctor", "-p", "mine.py"])
    assert (done.exit_code, done.stderr.splitlines()[-1]) == (
        2,
        "Error: -p extends the plugins of an experiment, so it requires FILE",
    )
