"""What every attempt imports, for the processes that attempts are forked from and that are compared with attempts."""

from __future__ import annotations

from contextlib import suppress
from importlib import import_module

from scalecore.api.worker import prepare_readers
from scalecore_torch.spec import TorchSpec

PRELOADED = (
    "scalecore_torch.attempt",
    "scalecore.builtin.plugin",
    "scalecore_torch.plugin",
    "torch._dynamo",  # by the first optimizer, with half of a computer algebra system: over a second of CPU
    "torch.profiler._cupti_monitor",
    "torch.utils.flop_counter",
    "torch.utils.serialization.config",
    "numpy.ctypeslib",
    "numpy.fft",
    "numpy.random",
)


def preload() -> None:
    """Import and prepare all that every attempt needs. What is left for after the fork, each attempt pays for again."""
    for name in PRELOADED:
        # Parts of torch that another version may not have; then no attempt imports them either.
        with suppress(ModuleNotFoundError):
            import_module(name)
    prepare_readers(TorchSpec)


def import_attempt() -> None:
    """Import what an attempt trains with."""
    import_module(PRELOADED[0])
