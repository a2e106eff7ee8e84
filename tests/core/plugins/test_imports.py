"""Code by its import path."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from scalecore.api.errors import ChangedFileError
from scalecore.api.options import ImportPath
from scalecore.plugins.imports import ImportPathError, import_code

CODE = "class Outer:\n    class Inner:\n        pass\n\nprint('hello')\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "code.py"
    path.write_text(CODE)
    return path


def test_a_file_is_executed_once_and_leaves_nothing(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No `.pyc`, nothing on stdout; the same content is the same module."""
    first = import_code(ImportPath(file=file, name="Outer"))
    again = import_code(ImportPath(file=file, name="Outer"))
    assert first.found is again.found
    assert first.sha256 == hashlib.sha256(CODE.encode()).hexdigest()
    assert [one.name for one in file.parent.rglob("*")] == ["code.py"]
    assert capsys.readouterr() == ("", "hello\n")


def test_a_name_may_have_dots(file: Path) -> None:
    """A missing name is reported with its parent."""
    found = import_code(ImportPath(file=file, name="Outer.Inner")).found
    assert found.__qualname__ == "Outer.Inner"
    with pytest.raises(ImportPathError) as caught:
        import_code(ImportPath(file=file, name="Outer.Iner"))
    assert str(caught.value) == f"Outer of {file} has no Iner; did you mean Inner?"


def test_g26_a_file_of_another_content_is_refused(file: Path) -> None:
    """Its digest is that of the checked file."""
    path = ImportPath(file=file, name="Outer")
    digest = str(import_code(path).sha256)
    import_code(path, sha256=digest)
    file.write_text(f"{CODE}# more\n")
    now = hashlib.sha256(file.read_bytes()).hexdigest()
    with pytest.raises(ChangedFileError) as caught:
        import_code(path, sha256=digest)
    assert str(caught.value) == (
        f"{file} changed since the run began (SHA-256 {digest[:12]} -> {now[:12]}): restore its previous "
        "content, or run the study with --allow-changed-code [G26]"
    )


def test_a_module_has_no_digest() -> None:
    """The sources and the version of its package are part of the study's code."""
    code = import_code(ImportPath(module="collections.abc", name="Mapping"))
    assert (code.found.__name__, code.sha256) == ("Mapping", None)


@pytest.mark.parametrize("module", ["collections.nothing", "no_such_package.inner"])
def test_a_module_that_is_missing_is_named(module: str) -> None:
    """With the form of import paths of files."""
    with pytest.raises(ImportPathError) as caught:
        import_code(ImportPath(module=module, name="x"))
    missing = "no_such_package" if module.startswith("no_such") else module
    assert str(caught.value) == (
        f"there is no module {missing!r} in this environment; the import path of a file is ./FILE.py:NAME"
    )
