"""Handles a full or read-only disk: the run ends with a clear error and keeps all finished trials."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scalecore.api.errors import ScalecoreError, StudyError
from scalecore.api.files import is_disk_error


def remove_tree(folder: Path) -> None:
    """Remove everything under `folder`; of a symbolic link only the link, since its target belongs to someone else."""
    if folder.is_symlink():
        folder.unlink()
    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def explained(folder: Path) -> Iterator[None]:
    """Raise a disk error as a `StudyError` that says what to do; let other errors pass."""
    try:
        yield
    except Exception as error:
        if isinstance(error, ScalecoreError) or not is_disk_error(error):
            raise
        why = getattr(error, "strerror", None) or error
        raise StudyError(
            f"{folder}: cannot be written ({why}); everything finished is kept: repair the disk or free space, then "
            "`scalecore run` resumes the study"
        ) from error
