"""What a trial on a GPU of CUDA needs of the machine's own memory."""

from __future__ import annotations

from collections.abc import Sequence

from scalecore_torch.memory.correction import floor_bytes

HOST_MEMORY = 2 * 1024**3
"""Bytes of the machine's memory for a process with CUDA: the interpreter with a CUDA build of torch, the context, and
what is staged for the device. An estimate that was not measured on a GPU: with CUDA's libraries loaded, and before any
context, such a process has some 0.6 GB. What the study's attempts measure replaces it."""

BYTES_PER_PARAMETER = 4
"""Of the machine's memory: the weights, which are built there before they are moved to the GPU."""


def weights_bytes(floor: int) -> int:
    """Bytes of the weights of a model whose weights, gradients and moments are `floor` bytes."""
    return floor * BYTES_PER_PARAMETER // floor_bytes(1)


def host_memory(measured: Sequence[int], *, num_parameters: int) -> int:
    """Bytes of the machine's memory that a trial on CUDA is predicted to need: its weights, and beside them the most
    that such an attempt of the study took, or an estimate before one has ended."""
    return max(measured, default=HOST_MEMORY) + BYTES_PER_PARAMETER * num_parameters
