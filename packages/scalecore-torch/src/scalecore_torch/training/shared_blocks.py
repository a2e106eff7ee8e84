"""Compiled blocks that the attempts of a run share: what one has compiled, the next one finds.

torch writes a library under its last name while the C++ compiler runs, and an attempt may be killed at any moment. So
the compiler of each attempt works in a folder of its own, which begins with what earlier attempts published. When it is
done, its new files become a folder of the shared ones by one rename: whole, or not at all.

    compiled/KEY/ENTRY/...             files by the names under which the compiler looks for them
    compiled/KEY/ENTRY/checksums.json  the SHA-256 of each

KEY stands for everything that made the files or runs them: torch, Python, the C++ compiler, the processor. What cannot
be read, is damaged or cannot be written is passed over, and compiled anew. The driver removes the folder when a run
begins and when it ends: what lies there is machine code, and is executed.
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
"""Bytes of all that is published. A block takes 1 to 2 MB, the precompiled headers of C++ 150 MB, once."""


@frozen
class SharedBlocks:
    """What the attempts of one run have compiled with the same tools on the same kind of processor."""

    path: Path

    @classmethod
    def of_this_machine(cls, folder: Path) -> SharedBlocks | None:
        """Those of these tools under `folder`; None where the C++ compiler does not tell its version."""
        key = _key()
        return None if key is None else cls(folder / key)

    def take(self, private: Path) -> set[str]:
        """Put all that was published into `private`, by links where the file system has them; the names taken."""
        taken: set[str] = set()
        for entry, name, published in self._files():
            if name not in taken:
                with suppress(OSError):
                    _take(entry / name, private / name, published)
                    taken.add(name)
        return taken

    def publish(self, private: Path, name: str) -> None:
        """Make the files in `private` that nobody has published yet the entry `name`, which takes them from there.

        Nothing where there are none, where they would be too many, or where they cannot be written.
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
    """Raises `OSError` where the file is not what was `published`, by its checksum."""
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
    """Whether a file is of use only while the compiler runs."""
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
    """What decides which instructions it has: code is compiled for the very processor."""
    first = read_cpuinfo().partition("\n\n")[0]
    if not first:
        return [platform.processor()]
    names = ("vendor_id", "cpu family", "model", "model name", "stepping", "flags", "Features")
    return [line for line in first.splitlines() if line.partition(":")[0].strip() in names]
