"""Find the paths that scalecore stored with a study after its project was moved, copied or renamed."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from attrs import frozen

from scalecore.config.import_paths import split_absolute


@frozen
class Move:
    """The place of a folder when it was written, None if unknown, and its place now."""

    was: Path | None
    now: Path

    def apply(self, content: Any) -> Any:
        """Apply `find` to each absolute path in plain JSON types."""
        if isinstance(content, Mapping):
            return {key: self.apply(one) for key, one in content.items()}
        if isinstance(content, list):
            return [self.apply(one) for one in content]
        if not isinstance(content, str) or not os.path.isabs(content):
            return content
        code = split_absolute(content)
        return str(self.find(Path(content))) if code is None else f"{self.find(Path(code[0]))}:{code[1]}"

    def find(self, path: Path) -> Path:
        """The place of `path` now: at the same place relative to the folder, or relative to another parent folder, or
        its old place if it was not moved along.

        A path that has only the root in common with the folder's old place was never part of the project.
        """
        if self.was is None or self.was == self.now:
            return path
        was, old = (os.path.normpath(one) for one in (self.was, path))
        common = Path(os.path.commonpath([old, was]))
        if common == Path(common.anchor):
            return path
        below, levels = Path(old).relative_to(common), len(Path(was).relative_to(common).parts)
        # The folder may be a link: the project is around the link or around its target.
        above = [[start, *start.parents] for start in (self.now, self.now.resolve())]
        same = [folders[levels] / below for folders in above if levels < len(folders)]
        others = [folder / below for folders in above for folder in folders]
        found = next((one for one in (*same, *others, path) if one.exists()), None)
        # A file that does not exist yet belongs next to the others.
        return found or next((one for one in same if one.parent.exists()), path)


def texts_in(content: Any) -> Iterator[str]:
    """All texts in plain JSON types, and the files of import paths."""
    if isinstance(content, str):
        yield content
        if (code := split_absolute(content)) is not None:
            yield code[0]
    elif isinstance(content, Mapping | list):
        for one in content.values() if isinstance(content, Mapping) else content:
            yield from texts_in(one)
