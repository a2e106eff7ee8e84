"""How many windows are evaluated at once."""

EVALUATION_BATCH = 512
"""Windows that are evaluated at once, or the micro-batch where that is larger."""
SMOKE_WINDOWS = 64
"""The same in a smoke step."""


def evaluation_is_larger(*, windows: int, micro_batch: int, blocks: int) -> bool:
    """Whether evaluating so many windows at once may need more memory than a step.

    A step keeps the tensors of all its repeated blocks, an evaluation those of one.
    """
    return windows > micro_batch * max(1, blocks)
