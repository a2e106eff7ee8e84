"""Compiles the repeated blocks of a module, once, before the first step.

Compiled blocks run training passes of one batch size. Other sizes (the short last batch) and all evaluations run in
eager mode, so that nothing is recompiled in the middle of a trial, and a resumed trial computes like an uninterrupted
one.
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
"""Environment variables of the compilers' cache folders, and their paths in the private folder."""
HEADER_ROOM = 2 << 30
"""Free bytes required for precompiled headers, which need 150 MB."""


class CompilationFailed(Exception):
    """Compilation failed; the module must be rebuilt, or the trial fails."""


def block_count(module: nn.Module) -> int:
    """The number of blocks to compile; 0 if the module declares none."""
    return len(repeated_blocks(module))


def compile_savings(module: nn.Module) -> Savings | None:
    """The result of the module's method `compile_savings()`; None without it. Raises `TypeError` for another type."""
    method = getattr(module, "compile_savings", None)
    savings = None if method is None else method()
    if method is not None and not isinstance(savings, Savings):
        raise TypeError(f"{type(module).__name__}.compile_savings() returned {savings!r}, which is not a Savings")
    return savings


def compile_blocks(module: nn.Module, *, batch: int, joined: bool = False) -> None:
    """Use compiled blocks for training passes of `batch` windows. Compilation starts at the first one.

    `joined` combines small, independent GPU kernels.

    A module with a method `compile_blocks(compiler, batch=...)` does this itself, for example with special code. For
    all others each block's `forward` is compiled.
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
    """Compile by running forward and backward pass of `step`, which returns a loss. Returns the seconds.

    Restores weights, buffers and random state, and clears gradients. Raises `CompilationFailed`; out-of-memory errors
    pass unchanged.
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
    """Make the compiler keep its files in `folder`, which is deleted at the end.

    Files `shared` by other attempts are linked there first; new files are shared after success.
    """
    import torch._inductor.config as settings

    settings.compile_threads = 1  # no process pool that would survive a kill
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
    """Keep precompiled C++ headers, which halve compile time, in `folder` too, or disable them.

    torch keeps them in a folder shared by all of the user's processes, where a killed process leaves incomplete files.
    It needs the program openssl to name them.
    """
    import torch._inductor.codecache as files
    import torch._inductor.config as settings

    folder.mkdir(parents=True, exist_ok=True)
    # Private to torch, so optional.
    known = all(hasattr(files, name) for name in ("_HEADER_DIR", "_HEADER_LOCK_DIR", "_precompile_header"))
    roomy = shutil.disk_usage(folder).free > HEADER_ROOM
    settings.cpp_cache_precompile_headers = known and roomy and shutil.which("openssl") is not None
    if settings.cpp_cache_precompile_headers:
        headers = folder / "headers"
        files._HEADER_DIR, files._HEADER_LOCK_DIR = str(headers), str(headers / "locks")
        files._precompile_header.cache_clear()  # forget an earlier folder of this process


def _compiler(function: Callable[..., Any], *, joined: bool) -> Callable[..., Any]:
    options: dict[str, Any] | None = {"combo_kernels": True} if joined else None
    compiled: Callable[..., Any] = torch.compile(function, dynamic=False, options=options)
    return compiled


class _Fits:
    """Whether the current pass is a training pass with the compiled batch size."""

    def __init__(self, batch: int) -> None:
        self.batch = batch
        self.now = False

    def look(self, module: nn.Module, arguments: tuple[Any, ...]) -> None:
        self.now = module.training and torch.is_grad_enabled() and len(arguments[0]) == self.batch


class _Either:
    """Calls the compiled block if it fits the pass, else the eager block."""

    def __init__(self, fits: _Fits, compiled: Callable[..., Any], written: Callable[..., Any]) -> None:
        self._fits, self._compiled, self._written = fits, compiled, written

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return (self._compiled if self._fits.now else self._written)(*arguments, **named)
