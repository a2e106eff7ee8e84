"""The protocol of datasets.

The *driver* is the process of `scalecore run`: it owns the study and never imports torch.
A class implements a protocol by defining its methods; it need not inherit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from attrs import frozen

if TYPE_CHECKING:
    from scalecore.api.panel import Panel

__all__ = ["Dataset", "DatasetContext"]


@frozen(kw_only=True)
class DatasetContext:
    """The second argument of a dataset's factory. Paths in the options are already absolute."""

    seed: int


@runtime_checkable
class Dataset(Protocol):
    """Reads the data of a study: one table of rows in time, and the definition of the target.

    Called in the driver, once per plan or run, before all other components. The core checks, splits and normalises the
    table, and stores it as memory-mapped arrays for the attempts; a dataset does none of that.
    """

    def panel(self) -> Panel:
        """Return the whole table.

        Raise `DataError` for a problem with the data: the user sees its message. Any other exception ends the run and
        is reported as a bug of the dataset.
        """
        ...
