"""Versions, citation, issue templates, release notes, contributing guide."""

from __future__ import annotations

import configparser
import datetime
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import yaml

import scalecore

from .conftest import ROOT, blocks

PACKAGES = sorted(ROOT.glob("packages/*/pyproject.toml"))


def projects() -> dict[str, dict[str, Any]]:
    found = [tomllib.loads(path.read_text(encoding="utf-8"))["project"] for path in PACKAGES]
    return {project["name"]: project for project in found}


def test_all_packages_have_one_version() -> None:
    """They have the core's version, which every plugin package accepts."""
    from packaging.requirements import Requirement

    assert {project["version"] for project in projects().values()} == {scalecore.__version__}
    for name, project in projects().items():
        assert project["license"] == "Apache-2.0"
        if name != "scalecore":
            requirements = [Requirement(text) for text in project["dependencies"]]
            (core,) = [one for one in requirements if one.name == "scalecore"]
            assert core.specifier.contains(scalecore.__version__), name


def test_every_list_of_packages_has_all() -> None:
    """The contributing guide, `make install`, tox and the linter of imports list all packages."""
    names = projects()
    make, tox, imports, guide = (
        (ROOT / name).read_text(encoding="utf-8")
        for name in ("Makefile", "tox.ini", ".importlinter", "CONTRIBUTING.md")
    )
    (installed,) = re.findall(r"^PACKAGES := ((?:.*\\\n)*.*)$", make, re.MULTILINE)
    assert sorted(installed.replace("\\", "").split()) == sorted(names)
    for name in names:
        short = "core" if name == "scalecore" else name.removeprefix("scalecore-")
        assert f"| `packages/{name}` |" in guide, name
        assert re.search(rf"^ +{short}: pytest ", tox, re.MULTILINE), name
        assert re.search(rf"^env_list = .*\b{short}\b", tox, re.MULTILINE), name
        assert f"packages/{name}/src" in tox, name
        assert re.search(rf"^ +{name.replace('-', '_')}$", imports, re.MULTILINE), name
        assert f"`{short}`" in guide or f"-e {short}`" in guide, name


def test_contributors_find_every_environment_and_folder_of_tests() -> None:
    """The guide has all environments of tox and all folders of `tests`."""
    tox = configparser.ConfigParser(interpolation=None)
    tox.read(ROOT / "tox.ini")
    environments = {name.removeprefix("testenv:") for name in tox.sections() if name.startswith("testenv:")}
    guide = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    for name in {*tox["tox"]["env_list"].split(", "), *environments}:
        assert f"`{name}`" in guide, name
    packages = {"core"} | {name.removeprefix("scalecore-") for name in projects()}
    for folder in {path.parent.name for path in ROOT.glob("tests/*/*.py")}:
        named = f"`tests/{folder}`" in guide or folder in packages
        assert named, folder


def test_every_page_is_in_the_overview() -> None:
    """The first page of the documentation links to each, and the README to the first page."""
    pages = {path.relative_to(ROOT / "docs").as_posix() for path in ROOT.glob("docs/**/*.md")}
    overview = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    assert {name for name in re.findall(r"\]\(([\w/.-]+\.md)", overview) if "CONTRIBUTING" not in name} == pages - {
        "index.md"
    }
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "](docs/index.md)" in readme
    assert len(readme.splitlines()) < 120


def test_every_package_has_the_licence() -> None:
    """Each has the full text."""
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in text
    for path in PACKAGES:
        assert (path.parent / "LICENSE").read_text(encoding="utf-8") == text, path


def test_the_release_notes_are_those_of_the_version() -> None:
    """They name every package and the known limits."""
    notes = (ROOT / "docs" / "releases" / f"{scalecore.__version__}.md").read_text(encoding="utf-8")
    assert notes.startswith(f"# scalecore {scalecore.__version__}\n")
    for name in projects():
        assert f"`{name}`" in notes, name
    headings = re.findall(r"^## (.+)$", notes, re.MULTILINE)
    assert {"What it cannot do", "Known limits"} <= set(headings)


def test_the_citation_file_is_valid() -> None:
    """It has the required fields of version 1.2.0 of the Citation File Format, with valid values."""
    content = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    allowed = {"abstract", "authors", "cff-version", "date-released", "keywords", "license", "message", "title", "type"}
    assert {"cff-version", "message", "title", "authors"} <= set(content) <= allowed | {"version"}
    assert content["cff-version"] == "1.2.0"
    assert content["type"] == "software"
    assert content["version"] == scalecore.__version__
    assert isinstance(content["date-released"], datetime.date)
    assert content["license"] == "Apache-2.0"
    assert all(isinstance(word, str) for word in content["keywords"])
    for author in content["authors"]:
        assert set(author) <= {"name"} or {"family-names", "given-names"} <= set(author)


def test_issue_templates_are_forms_with_the_required_fields() -> None:
    """Each field has a label; a bug report requires the output of `scalecore doctor`."""
    folder = ROOT / ".github" / "ISSUE_TEMPLATE"
    forms = {path.stem: yaml.safe_load(path.read_text(encoding="utf-8")) for path in folder.glob("*.yml")}
    assert set(forms) == {"bug", "feature", "plugin", "config"}
    assert set(forms.pop("config")) <= {"blank_issues_enabled", "contact_links"}
    for name, form in forms.items():
        assert {"name", "description", "body"} <= set(form), name
        identities = [field["id"] for field in form["body"] if field["type"] != "markdown"]
        assert len(identities) == len(set(identities)) >= 4
        for field in form["body"]:
            assert field["type"] in ("markdown", "textarea", "input", "dropdown", "checkboxes")
            assert field["type"] == "markdown" or field["attributes"]["label"], name
            assert field["type"] != "dropdown" or len(field["attributes"]["options"]) >= 2
    required = {f["id"]: f for f in forms["bug"]["body"] if f.get("validations", {}).get("required")}
    assert "`scalecore doctor`" in required["doctor"]["attributes"]["label"]


def test_the_first_change_of_the_guide_works(tmp_path: Path) -> None:
    """Its diff applies to the current files, and the changed test passes."""
    (diff,) = blocks(ROOT / "CONTRIBUTING.md", "diff")
    shutil.copytree(ROOT / "packages" / "scalecore" / "src", tmp_path / "packages" / "scalecore" / "src")
    shutil.copytree(ROOT / "tests" / "core" / "builtin", tmp_path / "tests" / "core" / "builtin")
    for name in ("pyproject.toml", "tests/conftest.py", "tests/core/conftest.py"):
        shutil.copy(ROOT / name, tmp_path / name)
    for part in diff.split("--- a/")[1:]:
        name, _, rest = part.partition("\n")
        changed = tmp_path / name
        text = changed.read_text(encoding="utf-8")
        for hunk in rest.split("@@\n")[1:]:
            lines = hunk.splitlines(keepends=True)
            old = "".join(line[1:] for line in lines if line[0] in " -")
            assert text.count(old) == 1, f"{name}: {old}"
            text = text.replace(old, "".join(line[1:] for line in lines if line[0] in " +"))
        changed.write_text(text, encoding="utf-8")
    source = tmp_path / "packages" / "scalecore" / "src"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(source), os.environ.get("PYTHONPATH", "")])}
    options = ("-q", "-p", "no:cacheprovider", "-k", "architecture_and_result")
    command = [sys.executable, "-m", "pytest", *options, str(changed)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert "1 passed" in done.stdout, done.stdout + done.stderr


def test_the_workflow_calls_the_scripts_of_the_repository() -> None:
    """The forge runs the same scripts as a developer."""
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    assert {step["run"] for step in steps if "run" in step} == {".ci/run", "make quick"}
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
    assert "make test" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
