"""Batches of windows, compared with slices of single windows."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from scalecore.api.errors import DataError
from scalecore.data.prepare import prepare
from scalecore_torch.training.windows import WindowSource, open_windows


@pytest.fixture
def folder(make_panel: Any, tmp_path: Path) -> Path:
    prepare(make_panel(), tmp_path / "data")
    return tmp_path / "data"


def test_batches_equal_slices_of_the_rows(folder: Path) -> None:
    """Every window of every part, in any order and repeated, equals the rows that end at its date, with its label."""
    values, labels = np.load(folder / "values.npy"), np.load(folder / "labels.npy")
    for part, source in open_windows(folder).items():
        ends = np.load(folder / f"{part}.npy")
        assert len(source) == len(ends)
        indices = torch.randperm(len(source), generator=torch.Generator().manual_seed(1))
        indices = torch.cat([indices, indices[:3]])
        x, y = source.batch(indices)
        expected = np.stack([values[end - 5 : end + 1] for end in ends[indices.numpy()]])
        assert x.shape == (len(indices), source.context, source.features) == (len(indices), 6, 2)
        assert x.dtype == y.dtype == torch.float32
        np.testing.assert_array_equal(x.numpy(), expected)
        np.testing.assert_array_equal(y.numpy(), labels[ends[indices.numpy()]])
        assert torch.isfinite(y).all()
        np.testing.assert_array_equal(source.labels.numpy(), labels[ends])


def test_rows_are_those_of_the_mapped_file(folder: Path) -> None:
    """The tensor is the file's memory, one for all parts, and its windows are a view of it."""
    sources = open_windows(folder)
    pointers = set()
    for source in sources.values():
        rows, view = source._rows.values, source._windows
        assert view.untyped_storage().data_ptr() == rows.untyped_storage().data_ptr()
        assert view.untyped_storage().nbytes() == rows.numel() * 4
        pointers.add(rows.data_ptr())
    assert len(pointers) == 1
    mapped = Path("/proc/self/maps")
    if mapped.exists():
        assert str(folder / "values.npy") in mapped.read_text()


def test_a_stray_write_stays_in_the_process(folder: Path) -> None:
    """Other attempts map the same file: a write to the rows changes only a copy of the page."""
    before = (folder / "values.npy").read_bytes()
    source = open_windows(folder)["train"]
    source._rows.values[0] = 99.0
    assert (folder / "values.npy").read_bytes() == before
    assert open_windows(folder)["train"]._rows.values[0, 0] != 99.0


def test_out_is_filled_and_reused(folder: Path) -> None:
    """A batch is written to the given buffer; a smaller last batch to its start."""
    source = open_windows(folder)["train"]
    out = torch.full((8, 6, 2), -1.0)
    x, _ = source.batch(torch.arange(8), out=out)
    assert x.data_ptr() == out.data_ptr()
    assert torch.equal(out, source.batch(torch.arange(8))[0])
    last, y = source.batch(torch.tensor([20, 10, 20]), out=out)
    assert last.shape == (3, 6, 2)
    assert y.shape == (3,)
    assert last.data_ptr() == out.data_ptr()
    assert torch.equal(last, source.batch(torch.tensor([20, 10, 20]))[0])
    assert torch.equal(out[3:], source.batch(torch.arange(3, 8))[0])


@pytest.mark.parametrize("index", [-1, 10_000])
def test_an_index_outside_of_the_part_is_an_error(folder: Path, index: int) -> None:
    """A negative index does not count from the end, and no row outside the part is read."""
    with pytest.raises((IndexError, RuntimeError)):
        open_windows(folder)["val"].batch(torch.tensor([index]))


def test_parts_share_one_copy_on_another_device(folder: Path) -> None:
    """Moving three parts moves the rows once. The meta device represents any other."""
    moved = {part: source.to("meta") for part, source in open_windows(folder).items()}
    assert len({id(source._rows) for source in moved.values()}) == 1
    assert {source.device.type for source in moved.values()} == {"meta"}
    x, y = moved["val"].batch(torch.arange(4, device="meta"))
    assert x.shape == (4, 6, 2)
    assert y.shape == (4,)
    there = open_windows(folder, device="meta")
    assert len({id(source._rows) for source in there.values()}) == 1


def test_moving_to_the_same_device_moves_nothing(folder: Path) -> None:
    """A source on the CPU is its own copy."""
    source = open_windows(folder)["train"]
    assert source.to("cpu") is source
    assert isinstance(source, WindowSource)


def test_a_folder_without_data_is_refused(tmp_path: Path) -> None:
    """The message has a remedy instead of a traceback of numpy."""
    with pytest.raises(DataError, match="has no prepared data"):
        open_windows(tmp_path / "nowhere")


def test_only_windows_imports_torch() -> None:
    """The driver describes and prepares data without torch or pandas."""
    code = (
        "import sys, scalecore.data.prepare, scalecore.api.panel, scalecore.builtin.parquet;"
        "print([name for name in ('torch', 'pandas', 'pyarrow') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_options_import_nothing_heavy() -> None:
    """The experiment file is checked against the options without numpy."""
    code = (
        "import sys, scalecore.builtin.options_dataset;"
        "print([name for name in ('torch', 'pandas', 'pyarrow', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
