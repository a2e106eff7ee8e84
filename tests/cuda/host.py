"""Runs functions of tests on a GPU that is not there: a process with the stub loaded, and a fork of it for each call.

Started by `conftest.py`. It has imported torch and never touched the device, like the fork server of scalecore; so each
call finds a torch that has not initialised CUDA, and leaves nothing behind. In: pickled `(module, function, args,
kwargs)`, each after its length. Out: pickled `(True, result)`, or `(False, traceback)`.
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
"""What fake tensors and trainers import, over a second of CPU for each call otherwise."""
LENGTH = struct.Struct("<Q")


def write(stream: BinaryIO, item: Any) -> None:
    """Send one item."""
    content = pickle.dumps(item)
    stream.write(LENGTH.pack(len(content)) + content)
    stream.flush()


def read(stream: BinaryIO) -> Any:
    """The next item; raises EOFError at the end."""
    head = stream.read(LENGTH.size)
    if len(head) < LENGTH.size:
        raise EOFError
    return pickle.loads(stream.read(LENGTH.unpack(head)[0]))


def call(module: str, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[bool, Any]:
    """What the function returns, or how it failed; a warning is a failure, as in all tests."""
    import torch

    warnings.simplefilter("error")
    # After a capture that failed in a backward pass torch's own thread may still hold nodes of it for a moment. Torch
    # says so, and waits: a matter of time, which no test asks for.
    warnings.filterwarnings("ignore", message="The AccumulateGrad node's stream does not match", category=UserWarning)
    try:
        assert not torch.cuda._is_in_bad_fork(), "what is imported before the fork has touched CUDA"
        return True, getattr(importlib.import_module(module), name)(*args, **kwargs)
    except BaseException:
        return False, traceback.format_exc()


def serve() -> None:
    """Answer until the input ends."""
    questions, answers = os.fdopen(os.dup(0), "rb", buffering=0), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a function prints is no answer
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
