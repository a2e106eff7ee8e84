from __future__ import annotations

import errno
import os
import resource
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from scalecore.api.files import is_disk_error, read_json, replacing, write_json


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600)])
def test_files_follow_the_umask(tmp_path: Path, mask: int, mode: int) -> None:
    """Other users may read results, unless the umask forbids it."""
    before = os.umask(mask)
    try:
        write_json(tmp_path / "a.json", {"a": 1})
    finally:
        os.umask(before)
    assert (tmp_path / "a.json").stat().st_mode & 0o777 == mode


@pytest.mark.parametrize("durable", [True, False])
def test_a_failed_write_leaves_the_old_content(tmp_path: Path, durable: bool) -> None:
    """And no temporary file."""
    path = tmp_path / "a.json"
    write_json(path, {"a": 1}, durable=durable)

    def half() -> None:
        with replacing(path, durable=durable) as temporary:
            temporary.write_text('{"a": ')
            raise OSError("the disk is full")

    with pytest.raises(OSError, match=r"^the disk is full$"):
        half()
    assert read_json(path) == {"a": 1}
    assert [one.name for one in tmp_path.iterdir()] == ["a.json"]


def test_a_link_to_the_old_content_is_replaced_too(tmp_path: Path) -> None:
    """Renaming a file to another name of the same file does nothing, which would leave the temporary file."""
    path = tmp_path / "a.json"
    write_json(path, {"a": 1})
    with replacing(path) as temporary:
        os.link(path, temporary)
    assert read_json(path) == {"a": 1}
    assert [one.name for one in tmp_path.iterdir()] == ["a.json"]


def nested() -> RuntimeError:
    error = RuntimeError("the cache is gone")
    error.__cause__ = OSError(errno.EROFS, os.strerror(errno.EROFS))
    return error


@pytest.mark.parametrize(
    ("error", "of_the_disk"),
    [
        *((OSError(number, os.strerror(number)), True) for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)),
        *((OSError(number, os.strerror(number)), True) for number in (errno.EROFS, errno.EIO)),
        (OSError(errno.ENOENT, "No such file or directory"), False),
        (OSError("the disk is gone"), False),
        (RuntimeError("unable to write to file </torch_9_1>: No space left on device (28)"), True),
        (RuntimeError("I/O error: Disk quota exceeded (os error 122)"), True),
        (RuntimeError("I/O error: Permission denied (os error 13)"), False),
        (RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 768 vs 662"), True),
        (RuntimeError("unexpected pos 768 vs 662"), False),
        (nested(), True),
        (ValueError("no such shape"), False),
    ],
)
def test_g48_disk_errors_are_recognised(error: Exception, of_the_disk: bool) -> None:
    """By the system's error number, or by its traces in a library's own error."""
    assert is_disk_error(error) is of_the_disk


def save_by_safetensors(path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(100_000)}, path)


def save_by_torch(path: Path) -> None:
    torch.save({"a": torch.zeros(100_000)}, path)


def save_by_numpy(path: Path) -> None:
    np.savez_compressed(path, a=np.random.default_rng(0).random(100_000))


@pytest.mark.parametrize("save", [save_by_safetensors, save_by_torch, save_by_numpy])
def test_g48_errors_of_libraries_on_a_full_disk_are_recognised(tmp_path: Path, save: Callable[[Path], None]) -> None:
    """The real errors of all libraries that attempts write with, at a file size limit."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        with pytest.raises(Exception) as caught:  # noqa: PT011  # each library raises another one
            save(tmp_path / "a.npz")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert is_disk_error(caught.value), repr(caught.value)
