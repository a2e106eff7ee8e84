"""Counts the GPU operations of a function on fake tensors: kernels by kind, waits of the host, bytes.

`FakeTensorMode` computes shapes, types and devices as CUDA would, but no values. The stub simulates a device, so
torch's dispatcher treats the tensors as CUDA tensors, and operations that mix devices or types fail as on a GPU. Each
computing operation counts as one kernel, though some launch two or three (the backward passes of attention and layer
norm); views and allocations count as none. Tensors on the host are real, so metrics and checkpoints are computed;
copies from the GPU contain zeros, and a number read from it is 1.
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
from torch.utils._pytree import tree_iter, tree_map

__all__ = ["Counts", "counted", "counting", "fake_cuda"]

PRODUCTS = ("mm", "addmm", "bmm", "baddbmm", "addbmm", "addmv", "mv", "_addmm_activation", "convolution")
WAITS = ("_local_scalar_dense", "equal", "nonzero", "masked_select", "bincount", "unique_consecutive", "unique_dim")
"""Operations for whose result the host must wait, besides copies to the host; also `_unique` and similar ones."""
ALLOCATES = ("empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "resize_", "_unsafe_view")
OWN = (__file__, str(Path(torch.__file__).parent))
"""Files that are never reported as the calling code."""


@frozen
class Counts:
    """Counted operations of the GPU."""

    kernels: Counter[str] = field(factory=Counter)
    """Launched kernels by kind: product, attention, cast, element-wise, optimizer, copy."""
    operations: Counter[str] = field(factory=Counter)
    """Launched kernels by torch's name of the operation."""
    waits: list[str] = field(factory=list)
    """Places where the host waited for the device, as `operation: file:line`."""
    bytes: Counter[str] = field(factory=Counter)
    """Bytes read and written by the kernels, by kind."""

    @property
    def total(self) -> int:
        """The number of all kernels."""
        return self.kernels.total()


@contextmanager
def fake_cuda() -> Iterator[None]:
    """Create fake tensors on CUDA; torch selects the implementations for real ones."""
    known = _foreach_utils._foreach_supported_types
    # Clipping and optimizers use their list implementations only for these types.
    known.append(FakeTensor)
    try:
        with FakeTensorMode() as mode, _RealHost(mode):
            yield
    finally:
        known.remove(FakeTensor)


@contextmanager
def counting() -> Iterator[Counts]:
    """Count the operations of a block, under `fake_cuda`."""
    counts = Counts()
    stub = ctypes.CDLL(None)
    before = stub.stub_waits()
    with _Counting(counts):
        yield counts
    counts.waits.extend(["a call of the CUDA runtime"] * (stub.stub_waits() - before))


def counted(function: Callable[[], object]) -> Counts:
    """Count the operations of `function` on fake tensors."""
    with fake_cuda(), counting() as counts:
        function()
    return counts


class _Mode(TorchDispatchMode):
    """Sees the operations of the device: composite ones are decomposed, also in inference mode."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func.namespace == "prim":  # asks for a device
            return func(*args, **kwargs)
        if torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), "CompositeImplicitAutograd"):
            with self:
                result = func.decompose(*args, **kwargs)
            if result is not NotImplemented:
                return result
        given = [one for one in tree_iter((args, kwargs)) if isinstance(one, Tensor)]
        return self.operation(func, args, kwargs, given)

    def operation(self, func: Any, args: Any, kwargs: Any, given: list[Tensor]) -> Any:
        raise NotImplementedError


class _RealHost(_Mode):
    """Computes on the host; copies to the host and reading a number succeed."""

    def __init__(self, fake: FakeTensorMode) -> None:
        super().__init__()
        self._fake = fake

    def operation(self, func: Any, args: Any, kwargs: Any, given: list[Tensor]) -> Any:
        fake = [one for one in given if isinstance(one, FakeTensor)]
        devices = {torch.device(kwargs.get("device") or "cpu").type, *(one.device.type for one in given)}
        if not fake and devices == {"cpu"}:
            with unset_fake_temporarily():
                return func(*args, **kwargs)
        if func is torch.ops.aten._local_scalar_dense.default:
            return True if fake[0].dtype == torch.bool else 1.0 if fake[0].is_floating_point() else 1
        if func is torch.ops.aten.equal.default:
            return True
        if func is torch.ops.aten.copy_.default and not isinstance(args[0], FakeTensor):
            with unset_fake_temporarily():
                return args[0].zero_()
        _check_types(func.overloadpacket.__name__, given)
        args, kwargs = tree_map(self._faked, (args, kwargs))
        return tree_map(_real, func(*args, **kwargs))

    def _faked(self, item: Any) -> Any:
        return self._fake.from_tensor(item) if isinstance(item, Tensor) and not isinstance(item, FakeTensor) else item


def _check_types(name: str, given: list[Tensor]) -> None:
    """Raise for a product of two types, which a GPU refuses and fake tensors do not."""
    attention = "attention" in name and "backward" not in name
    if name in PRODUCTS or name == "native_layer_norm" or attention:
        types = sorted({str(one.dtype) for one in given if one.is_floating_point()})
        if len(types) > 1:
            raise RuntimeError(f"{name}: expected tensors of the same dtype, got {' and '.join(types)}")


def _real(item: Any) -> Any:
    if not isinstance(item, FakeTensor) or item.device.type != "cpu":
        return item
    with unset_fake_temporarily():
        return torch.zeros(item.shape, dtype=item.dtype)


class _Counting(_Mode):
    def __init__(self, counts: Counts) -> None:
        super().__init__()
        self.counts = counts

    def operation(self, func: Any, args: Any, kwargs: Any, given: list[Tensor]) -> Any:
        result = func(*args, **kwargs)
        name = func.overloadpacket.__name__
        made = [one for one in tree_iter(result) if isinstance(one, Tensor)]
        if all(one.device.type == "cpu" for one in (*given, *made)):
            return result
        if name in WAITS or name.startswith("_unique") or (name.startswith(("index", "_index")) and _masked(args)):
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
    """The kind of the kernel that an operation launches; None if it launches none."""
    if func.namespace == "profiler" or func.is_view or name in (*ALLOCATES, "detach", *WAITS):
        return None
    copies = name in ("_to_copy", "copy_")
    if copies and len({one.device.type for one in (*given, *made)}) > 1:
        return "copy"
    if copies and len({one.dtype for one in (*given, *made)}) > 1:
        return "cast"
    if name in PRODUCTS:
        return "product"
    if "attention" in name:
        return "attention"
    return "optimizer" if name.startswith("_fused_") else "element-wise"


def _blocks(name: str, args: Any, kwargs: Any, *, made: list[Tensor]) -> bool:
    """True if the host waits for a copy: always for copies to the host, since the caller reads them."""
    at = 2 if name == "copy_" else 1
    non_blocking = kwargs.get("non_blocking", args[at] if len(args) > at else False)
    return made[0].device.type == "cpu" or not non_blocking


def _masked(args: Any) -> bool:
    """True if an indexing operation uses a mask, whose positions it must find first."""
    return any(isinstance(one, Tensor) and one.dtype in (torch.bool, torch.uint8) for one in tree_iter(args[1:2]))
