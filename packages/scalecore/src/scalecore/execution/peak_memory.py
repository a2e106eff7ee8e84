"""The peak memory of this process."""

from __future__ import annotations

import resource
import sys
from contextlib import suppress


def peak_memory() -> int:
    """Return the largest resident size of this process so far, in bytes.

    On Linux, `ru_maxrss` of a spawned process includes the largest size of its parent; `VmHWM` does not.
    """
    with suppress(OSError), open("/proc/self/status", encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
