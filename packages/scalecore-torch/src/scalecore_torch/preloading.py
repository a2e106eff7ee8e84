"""Imports everything that an attempt needs, before attempts are forked or compared with this process."""

from __future__ import annotations

from contextlib import suppress
from importlib import import_module

from scalecore.api.worker import prepare_readers
from scalecore_torch.spec import TorchSpec

PRELOADED = (
    "scalecore_torch.attempt",
    "scalecore.builtin.plugin",
    "scalecore_torch.plugin",
    "torch._dynamo",  # imported by the first optimizer together with sympy: over a second of CPU
    "torch.profiler._cupti_monitor",
    "torch.utils.flop_counter",
    "torch.utils.serialization.config",
    "numpy.ctypeslib",
    "numpy.fft",
    "numpy.random",
    "scipy.fft",  # with scipy.special, for the intervals of metrics
    "scipy.special",
)


def preload() -> None:
    """Import and prepare everything that attempts need. Each attempt repeats whatever is not done before the fork."""
    for name in PRELOADED:
        # Another version of torch may lack some of these; attempts do not import them then.
        with suppress(ModuleNotFoundError):
            import_module(name)
    prepare_readers(TorchSpec)


def import_attempt() -> None:
    """Import the training code of an attempt."""
    import_module(PRELOADED[0])
