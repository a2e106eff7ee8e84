"""Every package declares what it imports, so that `pip install` of it alone brings all that it needs."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECTS = sorted([*ROOT.glob("packages/*/pyproject.toml"), *ROOT.glob("examples/*/pyproject.toml")])
DISTRIBUTIONS = {
    "annotated_types": "annotated-types",
    "attr": "attrs",
    "mlflow": "mlflow-skinny",
    "pynvml": "nvidia-ml-py",
    "sklearn": "scikit-learn",
    "talib": "ta-lib",
    "typing_extensions": "typing-extensions",
    "vl_convert": "vl-convert-python",
    "yaml": "pyyaml",
}
"""Modules that are not called as their distributions are."""


def imported(source: Path) -> Iterator[tuple[str, str]]:
    """Top-level modules that are imported anywhere in a package's sources, and where; its own left out.

    What stands under `if TYPE_CHECKING` is for type checkers, but a package that is imported there is needed by them.
    """
    own = {path.name for path in source.iterdir()}
    for path in sorted(source.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [one.name for one in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module is not None:
                names = [node.module]
            for name in names:
                top = name.partition(".")[0]
                if top not in own and top not in sys.stdlib_module_names:
                    yield top, f"{path.relative_to(ROOT)}:{node.lineno}"


@pytest.mark.parametrize("path", PROJECTS, ids=lambda path: path.parent.name)
def test_what_is_imported_is_declared(path: Path) -> None:
    """As a dependency, or in an extra."""
    project = tomllib.loads(path.read_text(encoding="utf-8"))["project"]
    extras = project.get("optional-dependencies", {}).values()
    lines = [*project["dependencies"], *(line for extra in extras for line in extra)]
    declared = {re.split(r"[\s<>=!~;\[]", line, maxsplit=1)[0].lower() for line in lines}
    found = list(imported(path.parent / "src"))
    assert {"attrs"} <= {DISTRIBUTIONS.get(name, name) for name, _ in found}
    missing = [f"{where} imports {name}" for name, where in found if DISTRIBUTIONS.get(name, name) not in declared]
    assert missing == []
