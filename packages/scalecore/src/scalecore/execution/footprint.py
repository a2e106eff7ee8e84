"""How much memory a process takes: this one at most so far, and one of an attempt before any tensor of its model.

The latter is measured once by each tracer. It depends on the build of torch (the one for CUDA brings 400 MB of
libraries, also where the CPU trains), on what was imported, and on how the process is started: of a fork's memory the
pages of libraries count only once it uses them.
"""

from __future__ import annotations

import os
import resource
import sys
from contextlib import suppress

import psutil


def peak_memory() -> int:
    """The largest resident size of this process so far, in bytes.

    Linux counts the largest size of the parent into `ru_maxrss` of a process that was spawned, which `VmHWM` leaves
    out.
    """
    with suppress(OSError), open("/proc/self/status", encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def footprint(*, forked: bool) -> int | None:
    """Bytes of a process like this one that has made a small step; call it before this process computes anything.

    `forked` where attempts are forks of this process's parent: then a fork of this one makes the step. A fresh
    interpreter imports what an attempt imports, and that is it. None where the fork failed.
    """
    if not forked:
        from scalecore.execution.local.forkserver import preload

        preload()
        return int(psutil.Process().memory_info().rss)
    pid = os.fork()
    if pid == 0:
        try:
            _small_step()
            os._exit(0)
        finally:
            os._exit(1)
    _, status, usage = os.wait4(pid, 0)
    return None if status else usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _small_step() -> None:
    """The operations of a transformer's training and evaluation, on tensors of a few kilobytes."""
    import torch
    from torch import nn

    from scalecore.training.optimizer import build_optimizer

    torch.set_num_threads(1)
    layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.1, batch_first=True)
    module = nn.Sequential(nn.Linear(8, 16), layer, nn.Linear(16, 1))
    optimizer = build_optimizer(module, learning_rate=1e-3, weight_decay=0.1)
    x_BTF = torch.zeros(8, 4, 8)
    loss = nn.functional.binary_cross_entropy_with_logits(module(x_BTF), torch.zeros(8, 4, 1))
    torch.autograd.backward(loss)
    nn.utils.clip_grad_norm_(module.parameters(), 1.0)
    optimizer.step()
    with torch.inference_mode():
        module.eval()(x_BTF)
