"""What a disk that is full or read-only means for a study: a clear end, and nothing acknowledged is lost."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scalecore.api.errors import ScalecoreError, StudyError
from scalecore.api.files import is_disk_error


def remove_tree(folder: Path) -> None:
    """Remove all that lies under `folder`; behind a link lie files of somebody else."""
    if folder.is_symlink():
        folder.unlink()
    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def explained(folder: Path) -> Iterator[None]:
    """An error of the disk inside is raised as a `StudyError` that says what to do; any other one as it is."""
    try:
        yield
    except Exception as error:
        if isinstance(error, ScalecoreError) or not is_disk_error(error):
            raise
        why = getattr(error, "strerror", None) or error
        raise StudyError(
            f"{folder}: cannot be written ({why}); everything finished is kept: mend or empty the "
            "disk, and `scalecore run` continues"
        ) from error
