"""What a trial needs: a prediction from the shape alone, made without torch.

16 bytes per parameter (weights, gradients, two moments of Adam, float32) are a floor that no micro-batch removes; saved
activations grow with the micro-batch. The factor covers what the closed form of a family does not count (temporary
tensors, freed blocks that the C library keeps), the constant the process itself with torch imported. On twelve CPU
shapes measured peaks were 1.15 to 1.91 times the uncorrected sum; a factor of 2 on activations is the safe side of
that.
"""

from __future__ import annotations

__all__ = ["predicted_bytes"]

BYTES_PER_PARAMETER = 16
BYTES_PER_ACTIVATION = 4
ACTIVATION_FACTOR = 2.0
PROCESS_BYTES = 400 * 1024**2


def predicted_bytes(*, num_parameters: int, saved_activations: int, micro_batch: int) -> int:
    """Peak memory in bytes of an attempt; `saved_activations` is the count of numbers kept per window."""
    activations = ACTIVATION_FACTOR * BYTES_PER_ACTIVATION * saved_activations * micro_batch
    return PROCESS_BYTES + BYTES_PER_PARAMETER * num_parameters + int(activations)
