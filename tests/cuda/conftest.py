"""A GPU that is not there: torch's CUDA build on a stub of the CUDA runtime (`stub.c`), in processes of its own.

`tox run -e cuda` brings the build. Elsewhere these tests are skipped, since a torch without CUDA has none of the code
that they are about.
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
    """Without the CUDA build nothing here can run; its own environment must have it, where there is one."""
    required = "SCALECORE_CUDA_BUILD" in os.environ and platform.machine() == "x86_64"
    if torch.version.cuda is None and not required:
        for item in items:
            if HERE in item.path.parents:
                item.add_marker(pytest.mark.skip(reason="needs the CUDA build of torch: tox run -e cuda"))


def compiled(source: str, folder: Path) -> Path:
    """A stub, compiled against the headers of the runtime that torch was built for."""
    assert torch.version.cuda is not None, "this is no CUDA build of torch"
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
    """Of a process that finds the stub where torch looks for a GPU."""
    return {
        **os.environ,
        "LD_PRELOAD": str(library),
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "OMP_NUM_THREADS": "1",
    }


@contextmanager
def hosting(variables: dict[str, str]) -> Iterator[Callable[..., Any]]:
    """The process in which the functions of the tests run, and what has it run them."""
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
    """Call it with a function of a module below `tests` and its arguments: what the function returns on the stub.

    In a fresh process that has imported torch and not initialised CUDA. Arguments and result are pickled. A failure
    there is a failure here, with the traceback of there.
    """
    with hosting(stubbed) as run:
        yield run


@pytest.fixture(scope="session")
def on_idle_cuda(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Any]]:
    """The same on the stub whose kernels are launched and do nothing, with real tensors in place of fake ones."""
    with hosting(environment(compiled("idle.c", tmp_path_factory.mktemp("idle")))) as run:
        yield run


def calling(host: subprocess.Popen[bytes]) -> Callable[..., Any]:
    """What sends functions to the process and returns what they return."""

    def run(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        assert host.stdin is not None
        assert host.stdout is not None
        write(host.stdin, (function.__module__, function.__name__, args, kwargs))  # type: ignore[arg-type]
        done, result = read(host.stdout)  # type: ignore[arg-type]
        if not done:
            raise AssertionError(f"{function.__name__} failed on the stub:\n{result}")
        return result

    return run
