"""A simulated GPU: torch's CUDA build on a stub of the CUDA runtime (`stub.c`), in separate processes.

`tox run -e cuda` installs this build. In other environments the tests are skipped, since torch without CUDA lacks the
tested code.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from .host import read, write

HERE = Path(__file__).parent
ROOT = HERE.parent.parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the tests without torch's CUDA build, which the tox environment `cuda` must have."""
    required = "SCALECORE_CUDA_BUILD" in os.environ and platform.machine() == "x86_64"
    if torch.version.cuda is None and not required:
        for item in items:
            if HERE in item.path.parents:
                item.add_marker(pytest.mark.skip(reason="needs the CUDA build of torch: tox run -e cuda"))


def compiled(source: str, folder: Path) -> Path:
    """Compile a stub against the headers of the runtime that torch was built for."""
    assert torch.version.cuda is not None, "this is not a CUDA build of torch"
    packages = Path(torch.__file__).parent.parent
    (header,) = packages.glob("nvidia/*/include/driver_types.h")
    library = folder / "libcuda.so.1"
    flags = ["-shared", "-fPIC", "-O1", "-Wall", "-Werror", f"-Wl,-soname,{library.name}"]
    subprocess.run(
        [os.environ.get("CC", "gcc"), *flags, f"-I{HERE}", f"-I{header.parent}", HERE / source, "-o", library],
        check=True,
    )
    return library


def environment(library: Path) -> dict[str, str]:
    """The environment of a process in which torch finds the stub as its GPU."""
    return {
        **os.environ,
        "LD_PRELOAD": str(library),
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "OMP_NUM_THREADS": "1",
    }


@contextmanager
def hosting(variables: dict[str, str]) -> Iterator[Callable[..., Any]]:
    """The process that runs functions of the tests, and the function that calls it."""
    command = [sys.executable, str(HERE / "host.py"), str(ROOT)]
    with subprocess.Popen(command, env=variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        yield calling(process)
        assert process.stdin is not None
        process.stdin.close()


@pytest.fixture(scope="session")
def stubbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a process with the stub whose kernels fail."""
    return environment(compiled("stub.c", tmp_path_factory.mktemp("stub")))


@pytest.fixture(scope="session")
def on_cuda(stubbed: dict[str, str]) -> Iterator[Callable[..., Any]]:
    """Call a function of a module below `tests` on the stub and return its result.

    The function runs in a new process that has imported torch but not initialised CUDA. Arguments and result are
    pickled. A failure there fails the test here, with its traceback.
    """
    with hosting(stubbed) as run:
        yield run


@pytest.fixture(scope="session")
def on_idle_cuda(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Any]]:
    """Like `on_cuda`, on the stub whose kernels do nothing, with real tensors instead of fake ones."""
    with hosting(environment(compiled("idle.c", tmp_path_factory.mktemp("idle")))) as run:
        yield run


def calling(host: subprocess.Popen[bytes]) -> Callable[..., Any]:
    """Return a function that runs others in the process and returns their results."""

    def run(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        assert host.stdin is not None
        assert host.stdout is not None
        write(host.stdin, (function.__module__, function.__name__, args, kwargs))  # type: ignore[arg-type]
        done, result = read(host.stdout)  # type: ignore[arg-type]
        if not done:
            raise AssertionError(f"{function.__name__} failed on the stub:\n{result}")
        return result

    return run
