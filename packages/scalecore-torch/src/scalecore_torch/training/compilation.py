"""Compiles the repeated blocks of a module, once, before the first step.

What is compiled serves training passes of one batch size. Other sizes (the short last batch) and every evaluation run
as they are written, so that nothing is ever compiled anew in the middle of a trial, and a trial that goes on computes
as the one that was not interrupted.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from scalecore.api.module import Savings
from scalecore.api.worker import is_out_of_memory
from scalecore_torch.training.blocks import repeated_blocks
from scalecore_torch.training.micro_batches import random_state, restore_random_state
from scalecore_torch.training.shared_blocks import SharedBlocks

CACHES = {"TORCHINDUCTOR_CACHE_DIR": "", "TRITON_CACHE_DIR": "triton"}
"""Variables that name the folders of the compilers' files, and where these are in the private one."""
HEADER_ROOM = 2 << 30
"""Bytes that must be free for precompiled headers, which take 150 MB."""


class CompilationFailed(Exception):
    """The compiler could not do it; the module must be built anew, or the trial be given up."""


def block_count(module: nn.Module) -> int:
    """How many blocks there are to compile; 0 where the module does not say."""
    return len(repeated_blocks(module))


def compile_savings(module: nn.Module) -> Savings | None:
    """What the module's own method `compile_savings()` says; None without one. Raises `TypeError` for anything else."""
    method = getattr(module, "compile_savings", None)
    savings = None if method is None else method()
    if method is not None and not isinstance(savings, Savings):
        raise TypeError(f"{type(module).__name__}.compile_savings() returned {savings!r}, no Savings")
    return savings


def compile_blocks(module: nn.Module, *, batch: int, joined: bool = False) -> None:
    """Give the module compiled blocks for training passes of `batch` windows. Nothing is compiled before the first one.

    With `joined` small kernels for a GPU that do not depend on each other become one.

    A module with a method `compile_blocks(compiler, batch=...)` does that itself, for instance with other code than
    that of its blocks. Of any other one each block is compiled as it is written.
    """
    own: Callable[..., None] | None = getattr(module, "compile_blocks", None)
    if own is not None:
        own(partial(_compiler, joined=joined), batch=batch)
        return
    fits = _Fits(batch)
    module.register_forward_pre_hook(fits.look)
    for block in repeated_blocks(module):
        block.forward = _Either(fits, _compiler(block.forward, joined=joined), block.forward)


def warm_up(step: Callable[[], torch.Tensor], module: nn.Module, *, device: torch.device) -> float:
    """Compile by one forward and backward pass of `step`, which returns a loss; the seconds it took.

    Weights, buffers and random state are as before, gradients are cleared. Raises `CompilationFailed`, but out of
    memory as it is.
    """
    from torch._dynamo.exc import TorchDynamoException
    from torch._inductor.exc import CppCompileError, InvalidCxxCompiler

    random, buffers = random_state(device), [buffer.clone() for buffer in module.buffers()]
    started = time.monotonic()
    try:
        torch.autograd.backward(step())
    except (TorchDynamoException, CppCompileError, InvalidCxxCompiler) as error:
        if is_out_of_memory(error):
            raise
        raise CompilationFailed(str(error).strip().splitlines()[0]) from error
    finally:
        module.zero_grad(set_to_none=True)
        restore_random_state(random, device)
        for buffer, before in zip(module.buffers(), buffers, strict=True):
            buffer.copy_(before)
    return time.monotonic() - started


@contextmanager
def private_cache(folder: Path, *, shared: SharedBlocks | None = None) -> Iterator[None]:
    """Let the compiler keep its files in `folder`, deleted at the end.

    It finds there what other attempts `shared`; what it adds is shared too when all went well.
    """
    import torch._inductor.config as settings

    settings.compile_threads = 1  # no pool of processes that outlives a kill
    before = {name: os.environ.get(name) for name in CACHES}
    os.environ |= {name: str(folder / place) for name, place in CACHES.items()}
    try:
        if shared is not None:
            shared.take(folder)
        _keep_headers(folder)
        yield
        if shared is not None:
            shared.publish(folder, f"{folder.parent.parent.name}.{folder.parent.name}")
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
        shutil.rmtree(folder, ignore_errors=True)


def _keep_headers(folder: Path) -> None:
    """Let the precompiled headers of C++, which halve the time of the compiler, lie in `folder` too, or do without.

    torch keeps them in a folder of the user for all processes, where a killed one leaves half of them for good. It
    needs the program openssl to name them.
    """
    import torch._inductor.codecache as files
    import torch._inductor.config as settings

    folder.mkdir(parents=True, exist_ok=True)
    # Private to torch, so not relied upon.
    known = all(hasattr(files, name) for name in ("_HEADER_DIR", "_HEADER_LOCK_DIR", "_precompile_header"))
    roomy = shutil.disk_usage(folder).free > HEADER_ROOM
    settings.cpp_cache_precompile_headers = known and roomy and shutil.which("openssl") is not None
    if settings.cpp_cache_precompile_headers:
        headers = folder / "headers"
        files._HEADER_DIR, files._HEADER_LOCK_DIR = str(headers), str(headers / "locks")
        files._precompile_header.cache_clear()  # where it put them for an earlier folder of this process


def _compiler(function: Callable[..., Any], *, joined: bool) -> Callable[..., Any]:
    options: dict[str, Any] | None = {"combo_kernels": True} if joined else None
    compiled: Callable[..., Any] = torch.compile(function, dynamic=False, options=options)
    return compiled


class _Fits:
    """Whether the pass that is under way is one of training with the batch that was compiled for."""

    def __init__(self, batch: int) -> None:
        self.batch = batch
        self.now = False

    def look(self, module: nn.Module, arguments: tuple[Any, ...]) -> None:
        self.now = module.training and torch.is_grad_enabled() and len(arguments[0]) == self.batch


class _Either:
    """The compiled block where it fits, else the block as it is written."""

    def __init__(self, fits: _Fits, compiled: Callable[..., Any], written: Callable[..., Any]) -> None:
        self._fits, self._compiled, self._written = fits, compiled, written

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return (self._compiled if self._fits.now else self._written)(*arguments, **named)
