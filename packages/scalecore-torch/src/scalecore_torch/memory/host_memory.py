"""Predicts the host memory of a trial on a CUDA GPU."""

from __future__ import annotations

from collections.abc import Sequence

from scalecore_torch.memory.correction import floor_bytes

HOST_MEMORY = 2 * 1024**3
"""Bytes of host memory for a process with CUDA: the interpreter with a CUDA build of torch, the context, and data
staged for the device. An estimate, not measured on a GPU: with CUDA's libraries loaded and no context, such a process
uses some 0.6 GB. Measurements of the study's attempts replace it."""

BYTES_PER_PARAMETER = 4
"""Host memory for the weights, which are built there before they are moved to the GPU."""


def weights_bytes(floor: int) -> int:
    """Bytes of the weights of a model with `floor` bytes of weights, gradients and moments."""
    return floor * BYTES_PER_PARAMETER // floor_bytes(1)


def host_memory(measured: Sequence[int], *, num_parameters: int) -> int:
    """Predicted host memory of a trial on CUDA: its weights plus the largest measured rest of such an attempt in the
    study, or an estimate before one has ended."""
    return max(measured, default=HOST_MEMORY) + BYTES_PER_PARAMETER * num_parameters
