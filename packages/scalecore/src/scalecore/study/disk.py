"""What a disk that is full or read-only means for a study: a clear end, and nothing acknowledged is lost."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scalecore.errors import StudyError
from scalecore.files import is_disk_error

__all__ = ["explained"]


@contextmanager
def explained(folder: Path) -> Iterator[None]:
    """An error of the disk inside is raised as a `StudyError` that says what to do; any other one as it is."""
    try:
        yield
    except OSError as error:
        if not is_disk_error(error):
            raise
        raise StudyError(
            f"{folder}: cannot be written ({error.strerror or error}); everything finished is kept: mend or empty the "
            "disk, and `scalecore run` continues"
        ) from error
