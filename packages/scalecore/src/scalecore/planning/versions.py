"""The code behind a result: versions of the distributions, and a hash of the sources of scalecore and its plugins."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import platform
from collections.abc import Iterable
from pathlib import Path

from scalecore.api.trainer import CodeFile
from scalecore.plugins.manager import DIGITS

LIBRARIES = ("torch", "optuna", "numpy", "pandas", "pyarrow")


def code_versions(distributions: Iterable[str], *, packages: Iterable[str]) -> dict[str, str]:
    """Return the version of each distribution, and as `code` a hash of the source files of `packages` (import names).

    The hash also detects an edited source tree, which keeps its version number (guard G26).
    """
    versions = {"python": platform.python_version()}
    for name in (*dict.fromkeys(distributions), *LIBRARIES):
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    versions["code"] = source_hash(packages)
    return versions


def source_hash(packages: Iterable[str]) -> str:
    """Return a hash of the source files of importable packages."""
    digest = hashlib.sha256()
    for package in sorted(set(packages)):
        for name, path in _sources(package):
            digest.update(f"{package}/{name}\0".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def file_versions(code: Iterable[CodeFile]) -> dict[str, str]:
    """Return the content hash of each file named in the trainer's options, by file name."""
    return {one.file.name: one.sha256[:DIGITS] for one in code if one.file is not None and one.sha256}


def named_packages(code: Iterable[CodeFile]) -> list[str]:
    """Return the packages of the modules named in the trainer's options, except those in `LIBRARIES`."""
    found = {one.module.partition(".")[0] for one in code if one.module is not None}
    return sorted(found - set(LIBRARIES))


def _sources(package: str) -> list[tuple[str, Path]]:
    """Return the source files of a package or single-file module, without importing it."""
    spec = importlib.util.find_spec(package)
    if spec is None:
        return []
    if not spec.submodule_search_locations:
        return [(package, Path(spec.origin))] if spec.origin and spec.origin.endswith(".py") else []
    roots = [Path(root) for root in spec.submodule_search_locations]
    return [(path.relative_to(root).as_posix(), path) for root in roots for path in sorted(root.rglob("*.py"))]
