"""Shares compiled blocks between the attempts of a run.

torch writes a library under its final name while the C++ compiler runs, and an attempt may be killed at any moment. The
compiler of each attempt therefore uses a private folder, which starts with the files that earlier attempts published.
After compilation, one rename publishes the new files atomically.

    compiled/KEY/ENTRY/...             files by the names under which the compiler looks for them
    compiled/KEY/ENTRY/checksums.json  the SHA-256 of each

KEY is a hash of everything that creates or runs the files: torch, Python, the C++ compiler, the processor. Files that
are unreadable, damaged or cannot be written are skipped, and their blocks compiled again. The driver removes the folder
at the start and at the end of a run, since it contains machine code that is executed.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from attrs import frozen

from scalecore.api.files import read_json, write_json
from scalecore.api.predictions import checksum
from scalecore_torch.training.policies import cpp_compiler
from scalecore_torch.training.product_library import read_cpuinfo

CHECKSUMS = "checksums.json"
LARGEST = 1 << 29
"""Limit of all published files in bytes. A block needs 1 to 2 MB, the precompiled C++ headers 150 MB, once."""


@frozen
class SharedBlocks:
    """Blocks that the attempts of one run have compiled with the same tools on the same kind of processor."""

    path: Path

    @classmethod
    def of_this_machine(cls, folder: Path) -> SharedBlocks | None:
        """The blocks for the current tools under `folder`; None if the C++ compiler does not report its version."""
        key = _key()
        return None if key is None else cls(folder / key)

    def take(self, private: Path) -> set[str]:
        """Link or copy all published files into `private`. Returns their names."""
        taken: set[str] = set()
        for entry, name, published in self._files():
            if name not in taken:
                with suppress(OSError):
                    _take(entry / name, private / name, published)
                    taken.add(name)
        return taken

    def publish(self, private: Path, name: str) -> None:
        """Publish the new files in `private` as the entry `name`, by moving them there.

        No effect if there are none, if they would exceed the limit, or if they cannot be written.
        """
        with suppress(OSError):
            known = {one for _, one, _ in self._files()}
            paths = {str(path.relative_to(private)): path for path in _regular(private)}
            for one, path in list(paths.items()):
                if one in known or _transient(path):
                    path.unlink()
                    del paths[one]
            size = sum(path.stat().st_size for path in (*paths.values(), *_regular(self.path)))
            if not paths or size > LARGEST:
                return
            write_json(private / CHECKSUMS, {one: checksum(path) for one, path in paths.items()}, durable=False)
            self.path.mkdir(parents=True, exist_ok=True)
            os.rename(private, self.path / name)

    def _files(self) -> Iterator[tuple[Path, str, str]]:
        """Entry, name and checksum of each published file."""
        for path in sorted(self.path.glob(f"*/{CHECKSUMS}")):
            checksums = None
            with suppress(OSError):
                checksums = read_json(path)
            if isinstance(checksums, Mapping):
                yield from ((path.parent, name, published) for name, published in checksums.items())


def _take(source: Path, target: Path, published: str) -> None:
    """Link or copy a file. Raises `OSError` if its checksum is not the `published` one."""
    if source.is_symlink():
        raise OSError(f"{source} is a link")
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:  # a file system without hard links
        shutil.copyfile(source, target)
    if checksum(target) != published:
        target.unlink()
        raise OSError(f"{source} is damaged")


def _regular(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def _transient(path: Path) -> bool:
    """Whether only the running compiler needs a file."""
    return path.parent.name == "locks" or path.suffix in (".lock", ".tmp")


def _key() -> str | None:
    import torch

    compiler = cpp_compiler()
    try:
        version = subprocess.run([compiler, "--version"], capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    made_by = (torch.__version__, torch.version.git_version, torch.__file__, sys.version, compiler, version)
    return hashlib.sha256(repr((made_by, platform.platform(), _processor())).encode()).hexdigest()[:16]


def _processor() -> list[str]:
    """The properties of the processor that determine its instructions: code is compiled for exactly this processor."""
    first = read_cpuinfo().partition("\n\n")[0]
    if not first:
        return [platform.processor()]
    names = ("vendor_id", "cpu family", "model", "model name", "stepping", "flags", "Features")
    return [line for line in first.splitlines() if line.partition(":")[0].strip() in names]
