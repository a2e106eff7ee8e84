"""Paths that scalecore wrote into a study's folder, found again after the project was moved, copied or renamed."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from attrs import frozen

from scalecore.config.import_paths import split_absolute


@frozen
class Move:
    """From where a folder lay when it was written, None where that is not known, to where it lies now."""

    was: Path | None
    now: Path

    def apply(self, content: Any) -> Any:
        """Plain JSON types with `find` applied to each absolute path among its texts."""
        if isinstance(content, Mapping):
            return {key: self.apply(one) for key, one in content.items()}
        if isinstance(content, list):
            return [self.apply(one) for one in content]
        if not isinstance(content, str) or not os.path.isabs(content):
            return content
        code = split_absolute(content)
        return str(self.find(Path(content))) if code is None else f"{self.find(Path(code[0]))}:{code[1]}"

    def find(self, path: Path) -> Path:
        """Where `path` lies now: where it was relative to the folder, or relative to another folder above that one, or
        in its old place where nothing came along.

        What has only the root in common with the folder's old place was never a part of the project.
        """
        if self.was is None or self.was == self.now:
            return path
        was, old = (os.path.normpath(one) for one in (self.was, path))
        common = Path(os.path.commonpath([old, was]))
        if common == Path(common.anchor):
            return path
        below, levels = Path(old).relative_to(common), len(Path(was).relative_to(common).parts)
        # The folder may be a link: the project is around the link, or around what it links to.
        above = [[start, *start.parents] for start in (self.now, self.now.resolve())]
        same = [folders[levels] / below for folders in above if levels < len(folders)]
        others = [folder / below for folders in above for folder in folders]
        found = next((one for one in (*same, *others, path) if one.exists()), None)
        # A file that is yet to be made belongs beside the others.
        return found or next((one for one in same if one.parent.exists()), path)


def texts_in(content: Any) -> Iterator[str]:
    """Every text in plain JSON types, and the file of an import path."""
    if isinstance(content, str):
        yield content
        if (code := split_absolute(content)) is not None:
            yield code[0]
    elif isinstance(content, Mapping | list):
        for one in content.values() if isinstance(content, Mapping) else content:
            yield from texts_in(one)
