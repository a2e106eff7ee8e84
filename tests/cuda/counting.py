"""Counts what a function asks of a GPU, on fake tensors: kernels by kind, waits of the host, bytes.

`FakeTensorMode` computes shapes, types and devices as CUDA would, and no values; torch's dispatcher takes the way of a
CUDA tensor, since the stub makes it believe in a device. So operations that mix devices or types fail as they would on
a GPU. An operation that computes counts as one kernel, though some launch two or three (the backward passes of
attention and layer norm); views and allocations count as none.
"""

from __future__ import annotations

import ctypes
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from attrs import field, frozen
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode, unset_fake_temporarily
from torch.utils import _foreach_utils
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

__all__ = ["Counts", "counted", "counting", "fake_cuda"]

PRODUCTS = ("mm", "addmm", "bmm", "baddbmm", "addbmm", "addmv", "mv", "_addmm_activation", "convolution")
WAITS = ("_local_scalar_dense", "equal", "nonzero", "masked_select", "bincount", "unique", "_unique2", "unique_dim")
"""Operations whose result the host must see before it can go on."""
ALLOCATES = ("empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "resize_")
OWN = (__file__, str(Path(torch.__file__).parent))
"""Code that is not the one that asked."""


@frozen
class Counts:
    """What was asked of the GPU."""

    kernels: Counter[str] = field(factory=Counter)
    """Launched, by kind: product, attention, cast, element-wise, optimizer, copy."""
    operations: Counter[str] = field(factory=Counter)
    """The same by torch's names of the operations."""
    waits: list[str] = field(factory=list)
    """Where the host waited for the device, as `operation: file:line of the code that asked`."""
    bytes: Counter[str] = field(factory=Counter)
    """Read and written by the kernels, by kind."""

    @property
    def total(self) -> int:
        """All kernels."""
        return self.kernels.total()


@contextmanager
def fake_cuda() -> Iterator[None]:
    """Tensors made within are fake; torch's own choices between implementations are those for real ones."""
    known = _foreach_utils._foreach_supported_types
    # Clipping and optimizers work on lists of tensors only where all are of these types.
    known.append(FakeTensor)
    try:
        with FakeTensorMode(), _Values():
            yield
    finally:
        known.remove(FakeTensor)


@contextmanager
def counting() -> Iterator[Counts]:
    """Counts what happens within; under `fake_cuda`."""
    counts = Counts()
    stub = ctypes.CDLL(None)
    before = stub.stub_waits()
    with _Counting(counts):
        yield counts
    counts.waits.extend(["a call of the CUDA runtime"] * (stub.stub_waits() - before))


def counted(function: Callable[[], object]) -> Counts:
    """What `function` asks of the GPU, on fake tensors throughout."""
    with fake_cuda(), counting() as counts:
        function()
    return counts


class _Values(TorchDispatchMode):
    """Answers what asks for the value of a fake tensor, so that the program goes on: 1, true, equal."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten._local_scalar_dense.default and isinstance(args[0], FakeTensor):
            return True if args[0].dtype == torch.bool else 1.0 if args[0].is_floating_point() else 1
        if func is torch.ops.aten.equal.default:
            # States of random generators are real.
            if any(isinstance(one, FakeTensor) for one in args):
                return True
            with unset_fake_temporarily():
                return torch.equal(*args)
        return func(*args, **(kwargs or {}))


class _Counting(TorchDispatchMode):
    def __init__(self, counts: Counts) -> None:
        super().__init__()
        self.counts = counts

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = func.overloadpacket.__name__
        given = [one for one in tree_iter((args, kwargs)) if isinstance(one, Tensor)]
        on_gpu = any(one.device.type == "cuda" for one in given)
        result = func(*args, **kwargs)
        made = [one for one in tree_iter(result) if isinstance(one, Tensor)]
        if not on_gpu and all(one.device.type != "cuda" for one in made):
            return result
        if name in WAITS or (name.startswith(("index", "_index")) and _masked(args)):
            self._wait(name)
        kind = _kind(func, name, given=given, made=made)
        if kind is None:
            return result
        if kind == "copy" and _blocks(name, args, kwargs, made=made):
            self._wait(name)
        self.counts.kernels[kind] += 1
        self.counts.operations[name] += 1
        self.counts.bytes[kind] += sum(one.numel() * one.element_size() for one in (*given, *made))
        return result

    def _wait(self, name: str) -> None:
        places = [one for one in traceback.extract_stack() if not one.filename.startswith(OWN)]
        self.counts.waits.append(f"{name}: {places[-1].filename}:{places[-1].lineno}")


def _kind(func: Any, name: str, *, given: list[Tensor], made: list[Tensor]) -> str | None:
    """The kind of the kernel that an operation launches; None where it launches none."""
    if func.namespace in ("prim", "profiler") or func.is_view or name in (*ALLOCATES, "detach", *WAITS):
        return None
    devices = {one.device.type for one in given if one.dim() > 0} | {one.device.type for one in made}
    if name in ("_to_copy", "copy_") and len(devices | {one.device.type for one in given}) > 1:
        return "copy"
    if name in PRODUCTS:
        return "product"
    if "attention" in name:
        return "attention"
    if "_fused_" in name:
        return "optimizer"
    if name in ("_to_copy", "copy_") and len({one.dtype for one in (*given, *made)}) > 1:
        return "cast"
    if name == "_unsafe_view":
        return None
    return "element-wise"


def _blocks(name: str, args: Any, kwargs: Any, *, made: list[Tensor]) -> bool:
    """Whether a copy between host and device makes the host wait: to the host always, as what asks for it reads it."""
    at = 2 if name == "copy_" else 1
    non_blocking = kwargs.get("non_blocking", args[at] if len(args) > at else False)
    return made[0].device.type == "cpu" or not non_blocking


def _masked(args: Any) -> bool:
    """Whether an indexing looks for the places of a mask first."""
    return any(isinstance(one, Tensor) and one.dtype in (torch.bool, torch.uint8) for one in tree_iter(args[1:2]))
