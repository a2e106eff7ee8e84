"""Which code a result comes from.

Versions of the distributions, and a fingerprint of the sources of scalecore and its plugins.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import platform
from collections.abc import Iterable
from pathlib import Path

__all__ = ["code_versions"]

LIBRARIES = ("torch", "optuna", "numpy", "pandas", "pyarrow")


def code_versions(distributions: Iterable[str], *, packages: Iterable[str]) -> dict[str, str]:
    """Version by distribution, and `code`: a hash over the source files of `packages` (import names).

    The hash finds what a version number does not: an edited source tree (guard G26).
    """
    versions = {"python": platform.python_version()}
    for name in (*dict.fromkeys(distributions), *LIBRARIES):
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    digest = hashlib.sha256()
    for package in sorted(set(packages)):
        spec = importlib.util.find_spec(package)
        for root in sorted(spec.submodule_search_locations or []) if spec else []:
            for path in sorted(Path(root).rglob("*.py")):
                digest.update(f"{package}/{path.relative_to(root).as_posix()}\0".encode())
                digest.update(path.read_bytes())
    versions["code"] = digest.hexdigest()[:16]
    return versions
