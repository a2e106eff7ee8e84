"""Gathers batches of windows from one tensor of rows, without copying the data and without worker processes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from attrs import field, frozen

from scalecore.api.data_report import TargetScale
from scalecore.api.worker import PARTS, read_description

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


@frozen(kw_only=True, eq=False)
class _Rows:
    """The rows of all parts on one device: `values` [rows, features] float32, `labels` [rows] float32, on `scale`."""

    values: torch.Tensor
    labels: torch.Tensor
    context: int
    scale: TargetScale | None
    elsewhere: dict[torch.device, _Rows] = field(factory=dict, repr=False)

    def windows(self) -> torch.Tensor:
        """A view [rows - context + 1, context * features] with rows that overlap in memory."""
        rows, features = self.values.shape
        return self.values.as_strided((rows - self.context + 1, self.context * features), (features, 1))

    def to(self, device: torch.device) -> _Rows:
        """The same rows on `device`, copied there once for all parts."""
        if device == self.values.device:
            return self
        if device not in self.elsewhere:
            self.elsewhere[device] = _Rows(
                values=self.values.to(device), labels=self.labels.to(device), context=self.context, scale=self.scale
            )
        return self.elsewhere[device]


class WindowSource:
    """The windows of one part, numbered from 0 in order of time.

    `batch` gathers through a view in which neighbouring windows share memory, which is an order of magnitude faster
    than slicing window by window (measured: 29 times as fast as a per-item DataLoader at context 60 with 25 features).
    """

    def __init__(self, rows: _Rows, ends: torch.Tensor) -> None:
        self._rows = rows
        self._ends = ends
        self._starts = ends - (rows.context - 1)
        self._windows = rows.windows()
        self._labels: torch.Tensor | None = None

    @property
    def context(self) -> int:
        """Rows of a window."""
        return self._rows.context

    @property
    def features(self) -> int:
        """Features of a row."""
        return self._rows.values.shape[1]

    @property
    def device(self) -> torch.device:
        """Where the rows are."""
        return self._rows.values.device

    @property
    def ends(self) -> torch.Tensor:
        """[windows] int64: the last row of each window."""
        return self._ends

    @property
    def scale(self) -> TargetScale | None:
        """The scale on which a forecast is trained; None if training uses the labels unchanged."""
        return self._rows.scale

    @property
    def labels(self) -> torch.Tensor:
        """[windows] on the CPU: the labels of all windows in the target's unit.

        On a CPU they are gathered at each call, which saves memory; from another device they are fetched once.
        """
        if self._labels is not None:
            return self._labels
        labels_N = self.in_unit(self._rows.labels.index_select(0, self._ends).cpu())
        if self.device.type != "cpu":
            self._labels = labels_N
        return labels_N

    def in_unit(self, outputs: torch.Tensor) -> torch.Tensor:
        """Convert outputs of a model or labels of a batch, on the CPU, to the target's unit: float64 if there is a
        scale."""
        return outputs if self.scale is None else self.scale.in_unit(outputs)

    def __len__(self) -> int:
        return len(self._ends)

    def batch(self, indices: torch.Tensor, *, out: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """x [B, context, features] and y [B], both float32, of the windows `indices` [B] (int64, on the source's
        device); y is on `scale`.

        With `out`, a contiguous float32 tensor [>= B, context, features], x is written into its first B windows and is
        a view of it. An index outside 0 .. len - 1 raises IndexError on the CPU.
        """
        size = len(indices)
        starts = self._starts.index_select(0, indices)
        if out is None:
            flat = self._windows.index_select(0, starts)
        else:
            flat = out[:size].view(size, -1)
            torch.index_select(self._windows, 0, starts, out=flat)
        y = self._rows.labels.index_select(0, self._ends.index_select(0, indices))
        return flat.view(size, self.context, self.features), y

    def to(self, device: torch.device | str) -> WindowSource:
        """The same windows on `device`. Sources that were opened together share one copy of the rows there."""
        target = torch.device(device)
        rows = self._rows.to(target)
        return self if rows is self._rows else WindowSource(rows, self._ends.to(target))


def open_windows(folder: Path, *, device: torch.device | str = "cpu") -> Mapping[str, WindowSource]:
    """The parts `train`, `val` and `test` of a folder that `prepare` wrote. Raises DataError without prepared data.

    On the CPU the rows stay in the memory-mapped file, shared with other processes.
    """
    description = read_description(folder)
    rows = _Rows(
        values=_map(folder / "values.npy"),
        labels=_map(folder / "labels.npy"),
        context=description.context,
        scale=description.target_scale,
    )
    return {part: WindowSource(rows, _map(folder / f"{part}.npy")).to(device) for part in PARTS}


def windows_over(
    values: npt.NDArray[np.float32],
    *,
    context: int,
    scale: TargetScale | None = None,
    device: torch.device | str = "cpu",
) -> WindowSource:
    """All windows of new, normalised data `values` [rows, features], with unknown labels (NaN)."""
    rows = torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))
    unknown = torch.full((len(rows),), torch.nan)
    ends = torch.arange(context - 1, len(rows))
    return WindowSource(_Rows(values=rows, labels=unknown, context=context, scale=scale), ends).to(device)


def _map(path: Path) -> torch.Tensor:
    # Copy on write: nothing writes, so nothing is copied, and an accidental write would stay in this process. With a
    # read-only map it would be a segmentation fault, since torch has no read-only tensors.
    return torch.from_numpy(np.load(path, mmap_mode="c", allow_pickle=False))
