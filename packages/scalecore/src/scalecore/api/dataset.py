"""What a dataset does at run time.

The *driver* is the process of `scalecore run`: it owns the study and never imports torch.
Implementations need not inherit: they satisfy a protocol by having its methods.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from attrs import frozen

if TYPE_CHECKING:
    from scalecore.api.panel import Panel

__all__ = ["Dataset", "DatasetContext"]


@frozen(kw_only=True)
class DatasetContext:
    """What a dataset's factory is given besides its options. Paths in options are absolute already."""

    seed: int


@runtime_checkable
class Dataset(Protocol):
    """Raw material of a study: one table of rows in time, and the definition of what is to be predicted.

    Called by the driver, once per plan or run, before anything else. The core cuts the table into splits, checks and
    normalises it, and stores it as memory-mapped arrays for the attempts; a dataset does none of that.
    """

    def panel(self) -> Panel:
        """The whole table. A `DataError` is shown to the user as it is.

        Any other exception ends the run as the dataset's fault.
        """
        ...
