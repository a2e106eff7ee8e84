"""Whether compiling the blocks of a trial pays: what it takes against what it saves, from counts and no measurement.

The counts are the model's (`scalecore.api.module.Savings`), the seconds of each are the constants below. Studies
from before a model could say anything, and models that do not, go by FLOPs alone.
"""

from __future__ import annotations

from attrs import frozen

from scalecore.api.module import Savings

CPU_SECONDS = 25.0
"""Of a core, to compile a block in an attempt that finds none of another one."""
NUMBER_SECONDS = {"fp32": 1.5e-9, "bf16": -0.3e-9}
MASK_SECONDS, HEAD_SECONDS = 2e-9, 2.8e-6
"""Saved on a CPU for each of the model's counts, forward and backward; fitted to steps that were measured on Ice Lake
and Zen 5 (benchmarks/compiling.py). In bfloat16 compiled code converts more numbers than it saves work on them."""

GPU_SECONDS = 60.0
"""To compile a block for a GPU; an estimate, like all that follow."""
GPU_BYTES, GPU_BANDWIDTH = 15.0, 4.8e12
"""Bytes that compiled code leaves unread and unwritten for each number, half of what eager code moves for it by counts
of its kernels, and bytes a second of an H200 by NVIDIA's data sheet. A slower GPU saves more."""
GPU_LAUNCH = 0.15e-3
"""Seconds saved for a block in a step where the GPU waits for kernels to be launched."""

CPU_FLOPS = 2e13
"""FLOPs of a trial from which compiling pays on a CPU, where nothing else is known: a shape of width 256."""
GPU_STEP = 2e11
"""FLOPs of one block in one step below which a GPU waits for the next kernel to be launched."""
GPU_LAUNCHES = 400_000
"""Steps times blocks from which compiling pays there, where nothing else is known."""


@frozen(kw_only=True)
class Work:
    """The size of a trial: FLOPs of a forward pass of a window, windows, epochs at most, batch, blocks of the module.

    A training step takes three times the FLOPs of the forward pass. `savings` is what the module says that compiling
    saves, None where it says nothing.
    """

    flops: int
    windows: int
    epochs: int
    effective_batch: int
    blocks: int
    savings: Savings | None = None

    @property
    def total(self) -> float:
        """FLOPs of the whole trial, if no early stopping ends it."""
        return 3.0 * self.flops * self.windows * self.epochs

    @property
    def launched(self) -> int:
        """Blocks in all steps."""
        return self.blocks * self.epochs * -(-self.windows // self.effective_batch)

    @property
    def of_a_block(self) -> float:
        """FLOPs of one block in one step."""
        return 3.0 * self.flops * self.effective_batch / self.blocks


def compiling_pays(work: Work, *, device: str, precision: str) -> tuple[bool, str]:
    """Whether it does on `device` (cpu or cuda), and the reason in words."""
    if device == "cpu":
        return _on_cpu(work, precision=precision)
    return _on_gpu(work)


def _on_cpu(work: Work, *, precision: str) -> tuple[bool, str]:
    savings = work.savings
    if savings is None:
        pays = work.total >= CPU_FLOPS
        return pays, f"{work.total:.2g} FLOPs in all, {_sign(pays)} {CPU_FLOPS:.0e}"
    saved = saved_on_cpu(savings, precision=precision) * work.windows * work.epochs
    pays = saved >= CPU_SECONDS
    return pays, f"saves about {saved:.3g} s in all steps, {_sign(pays)} {CPU_SECONDS:.0f} s to compile"


def saved_on_cpu(savings: Savings, *, precision: str) -> float:
    """Seconds for one window, forward and backward."""
    return NUMBER_SECONDS[precision] * savings.numbers + MASK_SECONDS * savings.masks + HEAD_SECONDS * savings.heads


def _on_gpu(work: Work) -> tuple[bool, str]:
    waits, savings = work.of_a_block < GPU_STEP, work.savings
    if savings is None:
        if not waits:
            return False, f"{work.of_a_block:.2g} FLOPs of a block in a step keep the GPU busy, >= {GPU_STEP:.0e}"
        pays = work.launched >= GPU_LAUNCHES
        return pays, f"{work.launched} blocks in all steps, {_sign(pays)} {GPU_LAUNCHES}"
    if waits:
        saved, what = work.launched * GPU_LAUNCH, f"{work.launched} blocks launched"
    else:
        moved = GPU_BYTES * (savings.numbers + savings.masks) * work.windows * work.epochs
        saved, what = (
            moved / GPU_BANDWIDTH,
            f"{moved:.2g} bytes of element-wise work at {GPU_BANDWIDTH / 1e12:.1f} TB/s",
        )
    pays = saved >= GPU_SECONDS
    text = f"estimated to save {saved:.3g} s in all steps ({what}), {_sign(pays)} {GPU_SECONDS:.0f} s to compile"
    return pays, text


def _sign(pays: bool) -> str:
    return ">=" if pays else "<"
