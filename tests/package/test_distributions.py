"""Builds every wheel and sdist and checks the content."""

from __future__ import annotations

import email
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = sorted(path.parent.name for path in ROOT.glob("packages/*/pyproject.toml"))


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the sdist of every package; the wheel is built from the sdist."""
    folder = tmp_path_factory.mktemp("dist")
    for package in PACKAGES:
        subprocess.run(
            [
                sys.executable,
                "-m",
                "build",
                "--no-isolation",
                "--outdir",
                str(folder),
                str(ROOT / "packages" / package),
            ],
            check=True,
            capture_output=True,
            text=True,
        )
    return folder


def only(folder: Path, pattern: str) -> Path:
    (found,) = folder.glob(pattern)
    return found


@pytest.mark.parametrize("package", PACKAGES)
def test_a_wheel_contains_only_the_package(built: Path, package: str) -> None:
    """It has every source module, `py.typed`, the licence and the entry point, and no tests."""
    name = package.replace("-", "_")
    with zipfile.ZipFile(only(built, f"{name}-*.whl")) as wheel:
        names = set(wheel.namelist())
        metadata_folder = next(entry.split("/")[0] for entry in names if ".dist-info/" in entry)
        metadata = email.message_from_string(wheel.read(f"{metadata_folder}/METADATA").decode())
        entry_points = wheel.read(f"{metadata_folder}/entry_points.txt").decode()
    source = ROOT / "packages" / package / "src"
    modules = {path.relative_to(source).as_posix() for path in source.rglob("*.py")}
    assert modules <= names
    assert f"{name}/py.typed" in names
    assert f"{metadata_folder}/licenses/LICENSE" in names
    assert {entry.split("/")[0] for entry in names} == {name, metadata_folder}
    # scalecore-promotion has commands and no component.
    assert ("[scalecore.commands]" if package == "scalecore-promotion" else "[scalecore]") in entry_points
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["License-Expression"] == "Apache-2.0"
    requirements = metadata.get_all("Requires-Dist") or []
    if package != "scalecore":
        assert any(r.startswith(("scalecore<0.3", "scalecore>=0.2")) for r in requirements), requirements


@pytest.mark.parametrize("package", PACKAGES)
def test_an_sdist_contains_sources_readme_and_licence(built: Path, package: str) -> None:
    """It has everything to build the wheel, and no other files."""
    name = package.replace("-", "_")
    with tarfile.open(only(built, f"{name}-*.tar.gz")) as sdist:
        names = {"/".join(entry.split("/")[1:]) for entry in sdist.getnames()}
    assert {"pyproject.toml", "README.md", "LICENSE", f"src/{name}/py.typed"} <= names
    assert not [entry for entry in names if "__pycache__" in entry or entry.startswith("tests")]


def test_the_core_is_importable_from_its_wheel(built: Path, tmp_path: Path) -> None:
    """Without its dependencies it can be imported and has its version."""
    wheel = only(built, "scalecore-*.whl")
    install = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
        "--target",
        str(tmp_path),
        str(wheel),
    ]
    subprocess.run(install, check=True, capture_output=True, text=True)
    done = subprocess.run(
        [sys.executable, "-S", "-c", "import scalecore; print(scalecore.__version__)"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"{wheel.name.split('-')[1]}\n"
