"""Runs functions of tests on a simulated GPU: a process with the stub loaded, which forks for each call.

Started by `conftest.py`. Like scalecore's fork server it has imported torch but never used the device, so each call
starts with uninitialised CUDA and leaves nothing behind. In: pickled `(module, function, args, kwargs)`, each after its
length. Out: pickled `(True, result)`, or `(False, traceback)`.
"""

from __future__ import annotations

import importlib
import os
import pickle
import signal
import struct
import sys
import traceback
import warnings
from typing import Any, BinaryIO

__all__ = ["read", "write"]

PRELOADED = (
    *(
        "tests.cuda.counting",
        "tests.cuda.training",
        "scalecore.builtin.plugin",
        "scalecore_patchtst.plugin",
        "scalecore_torch.plugin",
    ),
    *("scalecore_patchtst.family", "scalecore_patchtst.model", "torch._dynamo", "torch._decomp", "pytest"),
    *("torch._functorch.partitioners", "torch.fx.experimental.symbolic_shapes"),
)
"""Modules of fake tensors and trainers; importing them in each call would take over a second of CPU time."""
LENGTH = struct.Struct("<Q")


def write(stream: BinaryIO, item: Any) -> None:
    """Send one item."""
    content = pickle.dumps(item)
    stream.write(LENGTH.pack(len(content)) + content)
    stream.flush()


def read(stream: BinaryIO) -> Any:
    """Return the next item; raise EOFError at the end."""
    head = stream.read(LENGTH.size)
    if len(head) < LENGTH.size:
        raise EOFError
    return pickle.loads(stream.read(LENGTH.unpack(head)[0]))


def call(module: str, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[bool, Any]:
    """Return the function's result or its traceback; warnings are errors, as in all tests."""
    import torch

    warnings.simplefilter("error")
    # After a failed capture of a backward pass, torch's thread may keep nodes of it for a moment. torch warns and
    # waits; this depends on timing and is not tested.
    warnings.filterwarnings("ignore", message="The AccumulateGrad node's stream does not match", category=UserWarning)
    try:
        assert not torch.cuda._is_in_bad_fork(), "an import before the fork has initialised CUDA"
        return True, getattr(importlib.import_module(module), name)(*args, **kwargs)
    except BaseException:
        return False, traceback.format_exc()


def serve() -> None:
    """Answer until the input ends."""
    questions, answers = os.fdopen(os.dup(0), "rb", buffering=0), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # output of a function is not an answer
    for name in PRELOADED:
        importlib.import_module(name)
    import torch

    torch.set_num_threads(1)
    while True:
        try:
            question = read(questions)
        except EOFError:
            return
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            write(answers, call(*question))
            os._exit(0)
        _, status = os.waitpid(pid, 0)
        if status:
            write(answers, (False, f"the process ended with {os.waitstatus_to_exitcode(status)}"))


if __name__ == "__main__":
    sys.path.insert(0, sys.argv[1])
    serve()
