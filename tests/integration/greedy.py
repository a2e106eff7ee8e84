"""A model family that misbehaves differently for each shape, for tests and benchmarks of the guards.

`appetite` 0 is logistic regression. The others do something else at their second training step:

1. allocates private memory, 2 GB a second and more, which RLIMIT_DATA limits;
2. allocates shared memory likewise, which no limit of a process counts, so that the monitor must see it;
3. the same, but only above a micro-batch of 16: half of it fits in the end;
4. crashes with SIGSEGV;
5. hangs.
"""

from __future__ import annotations

import textwrap
from pathlib import Path

__all__ = ["install"]

NAME, VERSION = "scalecore-greedy", "1.0"

SOURCE = """
import mmap
import os
import time
from collections.abc import Mapping

from scalecore import hookimpl
from scalecore_torch.linear import LinearFamily
from scalecore.api.components import ModelRecord
from scalecore.api.space import ArchitectureSpace

PIECE = 20_000_000


class GreedyFamily(LinearFamily):
    def architecture_space(self, data):
        shapes = tuple({"appetite": n} for n in range(6))
        return ArchitectureSpace(dimensions={"appetite": tuple(range(6))}, architectures=shapes)

    def build(self, architecture, hyperparameters, data):
        from torch import Tensor, nn

        appetite = architecture["appetite"]
        inner = super().build(architecture, hyperparameters, data)

        class Greedy(nn.Module):
            def __init__(self):
                super().__init__()
                self.inner = inner
                self.calls = 0

            def forward(self, x):
                self.calls += self.training
                if self.training and self.calls >= 2 and type(x) is Tensor:  # not on the tracer's fake ones
                    misbehave(appetite, len(x))
                return self.inner(x)

        return Greedy()


def misbehave(appetite, micro_batch):
    kept = []
    if appetite == 4:
        os.kill(os.getpid(), 11)
    if appetite == 5:
        time.sleep(3600)
    while appetite in (1, 2) or (appetite == 3 and micro_batch > 16):
        if appetite == 1:
            kept.append(bytearray(b"x") * PIECE)
        else:
            kept.append(mmap.mmap(-1, PIECE))
            kept[-1].write(b"x" * PIECE)


@hookimpl
def scalecore_models():
    return [ModelRecord(name="greedy", summary="Misbehaves.", factory=lambda options: GreedyFamily())]
"""


def install(folder: Path) -> Path:
    """Write the distribution into `folder`, an entry for PYTHONPATH."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "greedy.py").write_text(textwrap.dedent(SOURCE))
    info = folder / f"greedy-{VERSION}.dist-info"
    info.mkdir(exist_ok=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {NAME}\nVersion: {VERSION}\n")
    (info / "entry_points.txt").write_text("[scalecore]\ngreedy = greedy\n")
    return folder
