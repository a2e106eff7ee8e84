"""The process that measures the memory of shapes; it imports torch, so that the driver need not.

It runs as `python -m scalecore_torch.memory.tracer`, or as a fork of the fork server, which has imported torch. It
reads one JSON line per request and answers each with one line, in order. It ends when its input ends, as when the
driver ends, or after some minutes without a request. In: `{"key": ..., "specs": [...], "depths": [2, 4], "depth": 48}`:
specs of attempts, of one shape at each of `depths`, or of the shape itself if `depths` is empty, with `"device"`, on
which they will be trained. Out: `{"key": ..., "tensors": bytes, "held": bytes, "blocks": count, "traced_on": device,
"base": bytes}`, or `{"key": ..., "error": text, "base": bytes}`; `base` is the memory of a process without its tensors
(`scalecore_torch.memory.footprint`).

A trial for CUDA is traced on fake CUDA tensors if torch finds a GPU: their backward pass needs one from the driver.
This process may therefore create a context on the GPU; it then ends soon. Otherwise the trial is traced as on the CPU,
and `note` contains the reason.

It also counts shapes of families without closed forms. In: `{"key": ..., "count": [...], "forward": bool}` with
registry, model and shape as in a spec. Out: `{"key": ..., "counts": [...]}`, see `scalecore_torch.training.counting`.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import platform
import resource
import select
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

import psutil

from scalecore.api.escaping import message_of
from scalecore.api.worker import ending_after_parent, prefer_as_victim
from scalecore_torch.memory.footprint import footprint
from scalecore_torch.preloading import import_attempt

if TYPE_CHECKING:
    from scalecore_torch.memory.storages import Trace

IDLE_SECONDS = 300.0
TRACES = 32
"""Cached traces, some hundred kilobytes each."""
IDLE_ON_GPU = 20.0
"""Idle seconds of a process with a context on the GPU, which needs some hundred megabytes of GPU memory."""
ROOM = 1 << 30
"""Bytes that the process may allocate after the import of torch; tracing itself needs some megabytes."""
COMPUTE_MODE = 20
"""CU_DEVICE_ATTRIBUTE_COMPUTE_MODE of the driver; in mode 0 several processes may use the GPU."""


def answer(question: Mapping[str, Any]) -> dict[str, Any]:
    """Answer a request: bytes of the tensors of one step, bytes that the allocator holds for them (None if unknown),
    the number of repeated blocks of the module, and the traced device.
    """
    try:
        if "count" in question:
            return {"key": question["key"], "counts": _counts(question)}
        found, note = None, None
        if question["device"] == "cuda":
            found, note = _on_cuda(question)
        found = found or _traced(question, on="cpu")
    except BaseException as error:
        # Fake tensors cannot follow every family: the closed form is used then, and the record contains the reason.
        return {"key": question["key"], "error": _error_text(error)}
    return {"key": question["key"], **found, **({"note": f"traced as on the CPU: {note}"} if note else {})}


def _error_text(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(message_of(error).split())[:300]}"


def _on_cuda(question: Mapping[str, Any]) -> tuple[dict[str, Any] | None, str | None]:
    """The result of `_traced` on fake CUDA tensors; or None and the reason why that is impossible."""
    import torch

    if torch.version.cuda is None:
        return None, "this torch is not built for CUDA"
    if not _gpu_is_shared():
        return None, "no GPU here allows several processes at once"
    _contain_data()
    try:
        return _traced(question, on="cuda"), None
    except BaseException as error:
        return None, _error_text(error)


def _gpu_is_shared() -> bool:
    """Whether there is a GPU with a compute mode that allows several processes.

    It queries the driver without torch, since most calls of torch create a context, which would block attempts on a GPU
    in exclusive mode.
    """
    mode = ctypes.c_int(-1)
    with suppress(OSError, AttributeError):
        driver = ctypes.CDLL("libcuda.so.1")
        if driver.cuInit(0) == 0 and driver.cuDeviceGetAttribute(ctypes.byref(mode), COMPUTE_MODE, 0) == 0:
            return mode.value == 0
    return False


def _traced(question: Mapping[str, Any], *, on: Literal["cpu", "cuda"]) -> dict[str, Any]:
    from scalecore_torch.memory.storages import deepened, extrapolated, with_counted_moments

    traced = [_trace_of(json.dumps(spec, sort_keys=True), on=on) for spec in question["specs"]]
    trace, blocks = traced[-1]
    tensors, kept = trace.peak, None
    if question["depths"]:
        deep = deepened(traced[0][0], trace, depth=question["depth"])
        if deep is not None:
            trace, tensors = deep, deep.peak
        else:
            low, high = question["depths"]
            tensors = extrapolated(traced[0][0], trace, depths=(low, high), depth=question["depth"])
    if (question["specs"][-1].get("own") or {}).get("optimizer"):
        trace = with_counted_moments(trace)
    # If the operations of a deep model are unknown, the allocator adds the same share as for a shallow one.
    if on == "cuda":
        from scalecore_torch.memory.cuda import reserved

        kept = reserved(trace) * tensors // trace.peak
    elif platform.libc_ver()[0] == "glibc":
        kept = _held(question, trace, blocks) * tensors // trace.peak
    return {"tensors": tensors, "held": kept, "blocks": blocks, "traced_on": on}


def _counts(question: Mapping[str, Any]) -> list[dict[str, int]]:
    from scalecore.api.attempts import ModelSpec
    from scalecore.api.space import DataShape
    from scalecore.api.worker import build_family, checked
    from scalecore_torch.training.counting import count

    family = build_family(checked(ModelSpec, question["model"]), registry=question["registry"])
    data = DataShape(**question["shape"])
    return [count(family, one, data, forward=question["forward"]) for one in question["count"]]


def _held(question: Mapping[str, Any], trace: Trace, blocks: int) -> int:
    from scalecore_torch.memory.allocation import RETURNED_FROM
    from scalecore_torch.memory.heap import held
    from scalecore_torch.training.evaluation_batch import evaluation_is_larger

    spec = question["specs"][-1]
    if question["depths"]:
        blocks += question["depth"] - question["depths"][-1]
    larger = evaluation_is_larger(windows=spec["evaluate"], micro_batch=spec["plan"]["micro_batch"], blocks=blocks)
    returning = bool(spec.get("activation_checkpointing"))
    return held(trace, threshold=RETURNED_FROM if returning else None, gives_back=larger)


@lru_cache(maxsize=TRACES)
def _trace_of(spec: str, *, on: Literal["cpu", "cuda"]) -> tuple[Any, int]:
    """Cached, since shapes that differ only in depth use the same two traces."""
    return _trace(json.loads(spec), on=on)


def _trace(question: Mapping[str, Any], *, on: Literal["cpu", "cuda"]) -> tuple[Any, int]:
    import torch

    from scalecore.api.worker import checked
    from scalecore_torch.building import build_trainer
    from scalecore_torch.memory.step_trace import FakeWindows, trace_step
    from scalecore_torch.spec import TorchSpec
    from scalecore_torch.training.blocks import repeated_blocks
    from scalecore_torch.training.policies import Policy
    from scalecore_torch.training.training_loop import TrainingLoop

    device, spec = torch.device(on), checked(TorchSpec, question)
    sizes: dict[str, Any] = {"context": spec.shape.context, "features": spec.shape.features, "device": device}
    blocks = 0

    def make() -> TrainingLoop:
        nonlocal blocks
        windows: Any = FakeWindows(windows=4 * spec.plan.effective_batch, **sizes)
        with device:  # fake parameters cannot be moved
            trainer, _ = build_trainer(spec, device=device, windows={"train": windows, "val": windows})
        precision: Any = spec.precision  # never `auto` in a request
        trainer.policy = Policy(precision=precision, launches=spec.launches, why={})
        blocks = len(repeated_blocks(trainer.module))
        return trainer

    return trace_step(make, evaluate=question["evaluate"]), blocks


def serve(*, forked: bool = False) -> None:
    """Read requests from standard input and answer on standard output, until the input ends or the process is idle.

    The first line is `{"pid": ...}`. `forked` means that this process and attempts are forks of the fork server.
    """
    answers, parent = os.dup(1), os.getppid()
    os.dup2(2, 1)  # output printed by a model family is not an answer
    os.write(answers, json.dumps({"pid": os.getpid()}).encode() + b"\n")
    base = footprint(forked=forked)
    _warm_up()
    gc.freeze()  # scanning torch's objects takes a quarter of a second per collection
    _contain()
    pending, idle = b"", IDLE_SECONDS
    while select.select([0], [], [], idle)[0]:
        data = os.read(0, 1 << 20)
        if not data:
            return
        *lines, pending = (pending + data).split(b"\n")
        for line in lines:
            with ending_after_parent(parent):  # a family may hang in native code
                found = answer(json.loads(line))
            if found.get("traced_on") == "cuda":
                idle = IDLE_ON_GPU
            if "counts" not in found and base is not None:
                found["base"] = base
            os.write(answers, json.dumps(found).encode() + b"\n")


def _contain() -> None:
    """Limit this process's memory: code in a family's `build` or module outside torch's operations really allocates.

    The limit is on address space, which unlike data includes shared memory.
    """
    prefer_as_victim()
    used = psutil.Process().memory_info().vms
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    allowed = used + ROOM
    resource.setrlimit(resource.RLIMIT_AS, (allowed if hard == resource.RLIM_INFINITY else min(allowed, hard), hard))


def _contain_data() -> None:
    """The same for a process with CUDA, which reserves far more addresses than there is memory."""
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
    allowed = psutil.Process().memory_info().data + 8 * ROOM
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (allowed if hard == resource.RLIM_INFINITY else min(allowed, hard), hard))


def _warm_up() -> None:
    """Import what the first request needs while the driver still reads its data."""
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode

    import_attempt()

    torch.set_num_threads(1)
    with FakeTensorMode():
        linear = torch.nn.Linear(2, 2)
        torch.autograd.backward(linear(torch.zeros(1, 2)).sum())
        torch.optim.AdamW(linear.parameters(), fused=True).step()


if __name__ == "__main__":
    serve()
    os._exit(0)
