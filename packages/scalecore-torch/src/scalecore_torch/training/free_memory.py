"""Memory that the C library keeps although nothing uses it."""

from __future__ import annotations

import ctypes
import sys
from contextlib import suppress


def give_back() -> bool:
    """Give free pages back to the system; False where that cannot be asked for (it can of glibc).

    What a step has freed lies in pieces that are too small for the tensors of a larger batch. Kept, both would count.
    Takes about a tenth of a second for each gigabyte that is free, and as much when it is needed again.
    """
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            return bool(ctypes.CDLL(None).malloc_trim(0))
    return False
