"""What every dataset must hold."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from scalecore.api.dataset import Dataset

__all__ = ["DatasetContract"]


class DatasetContract:
    """Inherit, and give the fixture `make`: a function without arguments that returns a fresh dataset."""

    @pytest.fixture
    def make(self) -> Callable[[], Dataset]:
        """Makes the dataset under test."""
        pytest.fail("give the fixture `make`: it returns a function that makes your dataset")

    def test_rows_are_in_order_of_time(self, make: Callable[[], Dataset]) -> None:
        """Ascending and unique: windows are rows that follow each other."""
        import numpy as np

        times = make().panel().times
        assert np.issubdtype(times.dtype, np.datetime64)
        assert bool(np.all(times[1:] > times[:-1])), "times are not ascending and unique"

    def test_the_parts_fit_together(self, make: Callable[[], Dataset]) -> None:
        """As many labels and times as rows, as many names as columns, each name once."""
        panel = make().panel()
        rows, columns = panel.values.shape
        assert len(panel.times) == len(panel.labels) == rows
        assert len(panel.features) == len(set(panel.features)) == columns
        assert panel.context >= 1
        assert panel.look_back >= 0

    def test_values_are_finite(self, make: Callable[[], Dataset]) -> None:
        """A row with a hole is dropped or filled by the dataset, which knows what that means; never left as NaN."""
        import numpy as np

        panel = make().panel()
        columns = zip(panel.features, panel.values.T, strict=True)
        broken = [name for name, column in columns if not np.isfinite(column).all()]
        assert not broken, f"not finite: {', '.join(broken)}"

    def test_the_future_has_no_label(self, make: Callable[[], Dataset]) -> None:
        """The last `horizon` rows look beyond the end; labels elsewhere are known, and of the task's kind."""
        import numpy as np

        panel = make().panel()
        horizon = panel.target.horizon
        unknown = panel.labels[len(panel.labels) - horizon :]
        assert bool(np.isnan(unknown).all()), f"one of the last {horizon} rows has a label"
        known = panel.labels[~np.isnan(panel.labels)]
        assert len(known) > 0, "no row has a label"
        if panel.target.task == "binary":
            assert set(np.unique(known)) <= {0.0, 1.0}

    def test_the_same_again(self, make: Callable[[], Dataset]) -> None:
        """A second reading gives the same to the last bit: a resumed study refuses other data [G52]."""
        import numpy as np

        first, second = make().panel(), make().panel()
        assert np.array_equal(first.values, second.values)
        assert np.array_equal(first.labels, second.labels, equal_nan=True)
        assert np.array_equal(first.times, second.times)
        assert first.features == second.features

    def test_it_can_be_cut_into_splits(self, make: Callable[[], Dataset]) -> None:
        """The core takes it: splits, checks, baselines, a fingerprint; small as it may be for a test."""
        from scalecore.data.prepare import describe

        described = describe(make().panel(), min_validation_samples=1, min_validation_positives=1)
        assert set(described.parts) == {"train", "val", "test"}
        assert all(part.windows > 0 for part in described.parts.values())
