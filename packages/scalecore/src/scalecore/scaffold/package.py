"""A plugin package that works, from templates: metadata, options, implementation, tests on the test kit, an experiment.

`templates/common` holds what all kinds share, `templates/KIND` the rest. `__module__` in a path is the name of the
module.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from scalecore import __version__
from scalecore.api.errors import ExperimentError

if TYPE_CHECKING:
    from scalecore.scaffold.names import Names

__all__ = ["package_files", "write_package"]


def package_files(names: Names, *, kind: str) -> dict[str, str]:
    """The files of a package by their path in it; `kind` is one of `scalecore.scaffold.names.PLUGIN_KINDS`."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("scalecore.scaffold"),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
    )
    values = {"name": names.name, "module": names.module, "prefix": names.prefix, "kind": kind, "range": _range()}
    found: dict[str, str] = {}
    for template in environment.list_templates():
        folder, _, rest = template.partition("/")
        if folder in ("common", kind) and not rest.startswith("_"):
            path = rest.removesuffix(".j2").replace("__module__", names.module)
            found[path] = environment.get_template(template).render(values)
    return {**found, "prices.csv": _prices()}


def write_package(folder: Path, files: Mapping[str, str]) -> None:
    """Write the files into a folder that is not there yet; an `ExperimentError` where that cannot be done."""
    if folder.exists() or folder.is_symlink():
        raise ExperimentError(f"{folder} exists; choose another name, or another folder with --into")
    try:
        for path, text in files.items():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise ExperimentError(f"{error.filename or folder}: cannot be written ({error.strerror or error})") from None


def _range() -> str:
    """The versions of scalecore that a plugin of today may rely on: before 1.0 a minor version may change anything."""
    major, minor = map(int, __version__.split(".")[:2])
    return f">={major}.{minor},<{f'0.{minor + 1}' if major == 0 else major + 1}"


def _prices(rows: int = 900) -> str:
    """Made-up daily prices as CSV, in which a rise tends to follow a rise: enough for a model to learn something."""
    generator, day, price, change = random.Random(3), date(2015, 1, 1), 100.0, 0.0
    lines = ["Date,Close,Return,Volume"]
    for _ in range(rows):
        change = 0.6 * change + generator.gauss(0, 0.01)
        price *= math.exp(change)
        lines.append(f"{day},{price:.4f},{change:.6f},{generator.randint(1000, 9000)}")
        day += timedelta(days=1)
    return "\n".join(lines) + "\n"
