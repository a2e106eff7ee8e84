"""A process that finds out how much memory shapes need: torch is imported here, so that the driver need not.

Started as `python -m scalecore.execution.tracer`, or as a fork of the fork server, which has imported torch. It reads
a JSON line per question and answers with one, in the order of the questions. It ends when its input ends, which it does
when the driver ends, or when nothing was asked for some minutes. In: `{"key": ..., "specs": [...], "depths": [2, 4],
"depth": 48}`, specs like those of attempts, of one shape at each of `depths`, or of the one shape itself where `depths`
is empty. Out: `{"key": ..., "tensors": bytes, "held": bytes, "blocks": count}`, or `{"key": ..., "error": text}`.

It also counts shapes of families without closed forms. In: `{"key": ..., "count": [...], "forward": bool}` with
registry, model and shape as in a spec. Out: `{"key": ..., "counts": [...]}`, see `scalecore.training.counting.count`.
"""

from __future__ import annotations

import gc
import json
import os
import platform
import resource
import select
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import psutil

from scalecore.escaping import message_of
from scalecore.execution.containment import prefer_as_victim
from scalecore.execution.deathwatch import ending_after_parent

if TYPE_CHECKING:
    from scalecore.training.memory_storages import Trace

__all__ = ["answer", "serve"]

IDLE_SECONDS = 300.0
ROOM = 1 << 30
"""Bytes that the process may take on top of what it has when torch is imported; tracing itself takes some megabytes."""


def answer(question: Mapping[str, Any]) -> dict[str, Any]:
    """Bytes of the tensors of one step of the spec's trainer, those that the C library's allocator holds for them, None
    where it is not glibc, and how many repeated blocks its module names.
    """
    from scalecore.training.memory_storages import deepened, extrapolated

    try:
        if "count" in question:
            return {"key": question["key"], "counts": _counts(question)}
        traced = [_trace(spec) for spec in question["specs"]]
        trace, blocks = traced[-1]
        tensors, kept = trace.peak, None
        if question["depths"]:
            deep = deepened(traced[0][0], trace, depth=question["depth"])
            if deep is not None:
                trace, tensors = deep, deep.peak
            else:
                low, high = question["depths"]
                tensors = extrapolated(traced[0][0], trace, depths=(low, high), depth=question["depth"])
        if platform.libc_ver()[0] == "glibc":
            # Where the operations of a deep model are not known, it adds the share that it adds to a shallow one.
            kept = _held(question, trace, blocks) * tensors // trace.peak
    except BaseException as error:
        # Whatever a family does that fake tensors cannot follow: the closed form is used then, and the record says why.
        return {"key": question["key"], "error": f"{type(error).__name__}: {' '.join(message_of(error).split())[:300]}"}
    return {"key": question["key"], "tensors": tensors, "held": kept, "blocks": blocks}


def _counts(question: Mapping[str, Any]) -> list[dict[str, int]]:
    from scalecore.execution.building import build_family
    from scalecore.space import DataShape
    from scalecore.training.counting import count

    family, data = build_family(question), DataShape(**question["shape"])
    return [count(family, one, data, forward=question["forward"]) for one in question["count"]]


def _held(question: Mapping[str, Any], trace: Trace, blocks: int) -> int:
    from scalecore.execution.allocation import RETURNED_FROM
    from scalecore.training.memory import evaluation_is_larger
    from scalecore.training.memory_heap import held

    spec = question["specs"][-1]
    if question["depths"]:
        blocks += question["depth"] - question["depths"][-1]
    larger = evaluation_is_larger(windows=spec["evaluate"], micro_batch=spec["plan"]["micro_batch"], blocks=blocks)
    returning = bool(spec.get("activation_checkpointing"))
    return held(trace, threshold=RETURNED_FROM if returning else None, gives_back=larger)


def _trace(spec: Mapping[str, Any]) -> tuple[Any, int]:
    import torch

    from scalecore.execution.attempt import build
    from scalecore.training.blocks import repeated_blocks
    from scalecore.training.memory_trace import FakeWindows, trace_step
    from scalecore.training.policies import Policy
    from scalecore.training.trainer import Trainer

    # Fake tensors need no device; shapes and dtypes are those of the CPU's path, and the correction is the device's.
    device = torch.device("cpu")
    plan, shape = spec["plan"], spec["shape"]
    sizes = {"context": shape["context"], "features": shape["features"], "device": device}
    blocks = 0

    def make() -> Trainer:
        nonlocal blocks
        windows: Any = FakeWindows(windows=4 * plan["effective_batch"], **sizes)
        trainer, _ = build(spec, device=device, windows={"train": windows, "val": windows})
        trainer.policy = Policy(precision=spec["precision"], why={})
        blocks = len(repeated_blocks(trainer.module))
        return trainer

    return trace_step(make, evaluate=spec["evaluate"]), blocks


def serve() -> None:
    """Answer on the standard output what comes on the standard input, until it ends or nothing comes any more.

    The first line is `{"pid": ...}`.
    """
    answers, parent = os.dup(1), os.getppid()
    os.dup2(2, 1)  # what a model family prints is no answer
    os.write(answers, json.dumps({"pid": os.getpid()}).encode() + b"\n")
    _warm_up()
    gc.freeze()  # looking through all that torch has made takes a quarter of a second each time
    _contain()
    pending = b""
    while select.select([0], [], [], IDLE_SECONDS)[0]:
        data = os.read(0, 1 << 20)
        if not data:
            return
        *lines, pending = (pending + data).split(b"\n")
        for line in lines:
            with ending_after_parent(parent):  # a family may hang in native code
                found = answer(json.loads(line))
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


def _warm_up() -> None:
    """Import what the first question will need, while the driver is still reading its data."""
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode

    import scalecore.execution.attempt  # noqa: F401

    torch.set_num_threads(1)
    with FakeTensorMode():
        linear = torch.nn.Linear(2, 2)
        torch.autograd.backward(linear(torch.zeros(1, 2)).sum())
        torch.optim.AdamW(linear.parameters(), fused=True).step()


if __name__ == "__main__":
    serve()
    os._exit(0)
