"""Every package declares the distributions that it imports."""

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
    "attr": "attrs",
    "mlflow": "mlflow-skinny",
    "pynvml": "nvidia-ml-py",
    "sklearn": "scikit-learn",
    "talib": "ta-lib",
    "vl_convert": "vl-convert-python",
    "yaml": "pyyaml",
}
"""Modules whose name differs from that of their distribution by more than `_` for `-`."""
WITHOUT = {
    "scalecore": {
        "torch": {"api/data_report.py", "api/model.py", "api/module.py", "testing/fakes.py"},
        "threadpoolctl": {"builtin/function_worker.py"},
    }
}
"""Imports that a package does not require: torch for annotations, which are Any without it, and for a model of the test
kit that needs a torch trainer; threadpoolctl, if a user's library has installed it.
"""


def imported(package: Path) -> Iterator[tuple[str, str]]:
    """Top-level modules that a package's sources import, each with a file; without the package itself.

    Imports under `if TYPE_CHECKING` count as well, since type checkers need them.
    """
    (source,) = (package / "src").iterdir()
    for path in sorted(source.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [one.name for one in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module is not None:
                names = [node.module]
            for name in names:
                top = name.partition(".")[0]
                if top != source.name and top not in sys.stdlib_module_names:
                    yield top, path.relative_to(source).as_posix()


@pytest.mark.parametrize("path", PROJECTS, ids=lambda path: path.parent.name)
def test_imports_are_declared(path: Path) -> None:
    """Each import is a dependency or in an extra."""
    project = tomllib.loads(path.read_text(encoding="utf-8"))["project"]
    extras = project.get("optional-dependencies", {}).values()
    lines = [*project["dependencies"], *(line for extra in extras for line in extra)]
    declared = {re.split(r"[\s<>=!~;\[]", line, maxsplit=1)[0].lower() for line in lines}
    found = [(DISTRIBUTIONS.get(name, name.replace("_", "-")), where) for name, where in imported(path.parent)]
    assert "attrs" in {name for name, _ in found}
    undeclared: dict[str, set[str]] = {}
    for name, where in found:
        if name not in declared:
            undeclared.setdefault(name, set()).add(where)
    assert undeclared == WITHOUT.get(path.parent.name, {})
