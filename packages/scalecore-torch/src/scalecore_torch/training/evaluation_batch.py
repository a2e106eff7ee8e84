"""Batch sizes of evaluations."""

EVALUATION_BATCH = 512
"""Windows that are evaluated at once, or the micro-batch if that is larger."""
SMOKE_WINDOWS = 64
"""The same in a smoke step."""


def evaluation_is_larger(*, windows: int, micro_batch: int, blocks: int) -> bool:
    """Whether evaluating `windows` at once may need more memory than a training step.

    A step keeps the tensors of all repeated blocks, an evaluation those of one.
    """
    return windows > micro_batch * max(1, blocks)
