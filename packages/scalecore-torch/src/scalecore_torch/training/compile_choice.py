"""Decides whether compiling the blocks of a trial pays off, from counts of operations and not from measurements.

The model provides the counts (`scalecore.api.module.Savings`); the constants below are their seconds. Models without
counts, and studies older than them, use FLOPs alone.
"""

from __future__ import annotations

from attrs import frozen

from scalecore.api.module import Savings

CPU_SECONDS = 25.0
"""Core seconds to compile a block that no other attempt has compiled."""
NUMBER_SECONDS = {"fp32": 1.5e-9, "bf16": -0.3e-9}
MASK_SECONDS, HEAD_SECONDS = 2e-9, 2.8e-6
"""Seconds saved on a CPU per unit of the model's counts, forward and backward; fitted to steps measured on Ice Lake and
Zen 5 (benchmarks/compiling.py). In bfloat16, compiled code loses more time to conversions than it saves."""

GPU_SECONDS = 60.0
"""Seconds to compile a block for a GPU; an estimate, like all constants below."""
GPU_BYTES, GPU_BANDWIDTH = 15.0, 4.8e12
"""Memory traffic in bytes that compiled code saves per number, half of the traffic of eager code by counts of its
kernels; and the bytes per second of an H200 from NVIDIA's data sheet. A slower GPU saves more."""
GPU_LAUNCH = 0.15e-3
"""Seconds saved per block and step if the GPU waits for kernel launches."""

CPU_FLOPS = 2e13
"""FLOPs of a trial from which compiling pays off on a CPU, without other information: a shape of width 256."""
GPU_STEP = 2e11
"""FLOPs of one block in one step below which a GPU waits for kernel launches."""
GPU_LAUNCHES = 400_000
"""Steps times blocks from which compiling pays off then, without other information."""


@frozen(kw_only=True)
class Work:
    """The size of a trial: FLOPs per window of a forward pass, windows, maximum epochs, batch, blocks of the module.

    A training step needs three times the FLOPs of the forward pass. `savings` are the module's counts, None without
    them.
    """

    flops: int
    windows: int
    epochs: int
    effective_batch: int
    blocks: int
    savings: Savings | None = None

    @property
    def total(self) -> float:
        """FLOPs of the whole trial without early stopping."""
        return 3.0 * self.flops * self.windows * self.epochs

    @property
    def launched(self) -> int:
        """Block executions in all steps."""
        return self.blocks * self.epochs * -(-self.windows // self.effective_batch)

    @property
    def of_a_block(self) -> float:
        """FLOPs of one block in one step."""
        return 3.0 * self.flops * self.effective_batch / self.blocks


def compiling_pays(work: Work, *, device: str, precision: str) -> tuple[bool, str]:
    """Whether compiling pays off on `device` (cpu or cuda), and the reason."""
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
    """Seconds saved per window, forward and backward."""
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
