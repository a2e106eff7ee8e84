"""A process that finds out how much memory shapes need: torch is imported here, so that the driver need not.

Started as `python -m scalecore_torch.memory.tracer`, or as a fork of the fork server, which has imported torch. It
reads a JSON line per question and answers with one, in the order of the questions. It ends when its input ends, which
it does when the driver ends, or when nothing was asked for some minutes. In: `{"key": ..., "specs": [...], "depths":
[2, 4], "depth": 48}`, specs like those of attempts, of one shape at each of `depths`, or of the one shape itself where
`depths` is empty, with `"device"`, on which they will be trained. Out: `{"key": ..., "tensors": bytes, "held": bytes,
"blocks": count, "traced_on": device, "base": bytes}`, or `{"key": ..., "error": text, "base": bytes}`; `base` is what
a process takes without its tensors (`scalecore_torch.memory.footprint`).

A trial for CUDA is traced on fake CUDA tensors where torch finds a GPU: their backward pass asks the driver for one.
So this process may come to hold a context on the GPU, and ends soon after. Elsewhere it is traced as on the CPU, and
`note` says why.

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
"""Traces that are kept: some hundred kilobytes each."""
IDLE_ON_GPU = 20.0
"""The same where the process holds a context on the GPU, which takes some hundred megabytes of its memory."""
ROOM = 1 << 30
"""Bytes that the process may take on top of what it has when torch is imported; tracing itself takes some megabytes."""
COMPUTE_MODE = 20
"""CU_DEVICE_ATTRIBUTE_COMPUTE_MODE of the driver; 0 is the mode in which several processes may use the GPU."""


def answer(question: Mapping[str, Any]) -> dict[str, Any]:
    """Bytes of the tensors of one step of the spec's trainer, those that the allocator holds for them, None where it is
    not known, how many repeated blocks its module names, and on which device's code that was found.
    """
    try:
        if "count" in question:
            return {"key": question["key"], "counts": _counts(question)}
        found, note = None, None
        if question["device"] == "cuda":
            found, note = _on_cuda(question)
        found = found or _traced(question, on="cpu")
    except BaseException as error:
        # Whatever a family does that fake tensors cannot follow: the closed form is used then, and the record says why.
        return {"key": question["key"], "error": _said(error)}
    return {"key": question["key"], **found, **({"note": f"traced as on the CPU: {note}"} if note else {})}


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(message_of(error).split())[:300]}"


def _on_cuda(question: Mapping[str, Any]) -> tuple[dict[str, Any] | None, str | None]:
    """As `_traced` on fake CUDA tensors; or None, and why that cannot be."""
    import torch

    if torch.version.cuda is None:
        return None, "this torch is not built for CUDA"
    if not _gpu_is_shared():
        return None, "there is no GPU here that several processes may use at once"
    _contain_data()
    try:
        return _traced(question, on="cuda"), None
    except BaseException as error:
        return None, _said(error)


def _gpu_is_shared() -> bool:
    """Whether there is a GPU whose compute mode lets other processes use it beside this one.

    Asked of the driver without torch, since most that is asked of torch makes a context, which would keep attempts off
    a GPU that one process has for itself.
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
    # Where the operations of a deep model are not known, the allocator adds the share that it adds to a shallow one.
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
    """Shapes that differ in their depth alone come from the same two traces."""
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
        precision: Any = spec.precision  # which is no `auto` in a question
        trainer.policy = Policy(precision=precision, launches=spec.launches, why={})
        blocks = len(repeated_blocks(trainer.module))
        return trainer

    return trace_step(make, evaluate=question["evaluate"]), blocks


def serve(*, forked: bool = False) -> None:
    """Answer on the standard output what comes on the standard input, until it ends or nothing comes any more.

    The first line is `{"pid": ...}`. `forked` where this process is a fork of the fork server, as attempts are then.
    """
    answers, parent = os.dup(1), os.getppid()
    os.dup2(2, 1)  # what a model family prints is no answer
    os.write(answers, json.dumps({"pid": os.getpid()}).encode() + b"\n")
    base = footprint(forked=forked)
    _warm_up()
    gc.freeze()  # looking through all that torch has made takes a quarter of a second each time
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
    """Whatever a family's `build` or module does beside torch's operations is real: it may not take the machine.

    Address space, unlike data, counts shared memory too.
    """
    prefer_as_victim()
    used = psutil.Process().memory_info().vms
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    allowed = used + ROOM
    resource.setrlimit(resource.RLIMIT_AS, (allowed if hard == resource.RLIM_INFINITY else min(allowed, hard), hard))


def _contain_data() -> None:
    """The same for a process that uses CUDA, which reserves far more addresses than there is memory."""
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
    allowed = psutil.Process().memory_info().data + 8 * ROOM
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (allowed if hard == resource.RLIM_INFINITY else min(allowed, hard), hard))


def _warm_up() -> None:
    """Import what the first question will need, while the driver is still reading its data."""
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
