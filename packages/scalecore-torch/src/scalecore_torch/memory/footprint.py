"""Measures the memory of an attempt's process before any tensor of its model.

Each tracer measures it once. It depends on the build of torch (the CUDA build loads 400 MB of libraries, even for
training on the CPU), on the imports, and on how the process starts: pages of libraries count in a fork only after it
uses them.
"""

from __future__ import annotations

import os
import sys

import psutil


def footprint(*, forked: bool) -> int | None:
    """Bytes of a process like this one after a small training step. Call it before this process computes anything.

    If attempts are forks of this process's parent (`forked`), a fork of this process runs the step. A fresh interpreter
    only imports what an attempt imports. Returns None if the fork failed.
    """
    if not forked:
        from scalecore_torch.preloading import preload

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

    from scalecore_torch.training.optimizer import build_optimizer

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
