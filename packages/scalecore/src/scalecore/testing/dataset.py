"""Contract of datasets."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from scalecore.api.dataset import Dataset

__all__ = ["DatasetContract"]


class DatasetContract:
    """Inherit and define the fixture `make`: a function without arguments that returns a new dataset."""

    @pytest.fixture
    def make(self) -> Callable[[], Dataset]:
        """A function that creates the dataset under test."""
        pytest.fail("define the fixture `make`: return a function that creates your dataset")

    def test_rows_are_ordered_by_time(self, make: Callable[[], Dataset]) -> None:
        """Times are ascending and unique, since a window consists of consecutive rows."""
        import numpy as np

        times = make().panel().times
        assert np.issubdtype(times.dtype, np.datetime64)
        assert bool(np.all(times[1:] > times[:-1])), "times are not ascending and unique; sort the rows"

    def test_shapes_match(self, make: Callable[[], Dataset]) -> None:
        """The panel has a label and a time for each row, and a unique name for each column."""
        panel = make().panel()
        rows, columns = panel.values.shape
        assert len(panel.times) == len(panel.labels) == rows
        assert len(panel.features) == len(set(panel.features)) == columns
        assert panel.context >= 1
        assert panel.look_back >= 0

    def test_values_are_finite(self, make: Callable[[], Dataset]) -> None:
        """The dataset drops or fills rows with missing values; the core does not accept NaN."""
        import numpy as np

        panel = make().panel()
        columns = zip(panel.features, panel.values.T, strict=True)
        broken = [name for name, column in columns if not np.isfinite(column).all()]
        assert not broken, f"columns with NaN or infinity: {', '.join(broken)}; drop or fill these rows"

    def test_the_future_has_no_label(self, make: Callable[[], Dataset]) -> None:
        """The labels of the last `horizon` rows are NaN, since they would need rows after the end of the table."""
        import numpy as np

        panel = make().panel()
        horizon = panel.target.horizon
        unknown = panel.labels[len(panel.labels) - horizon :]
        assert bool(np.isnan(unknown).all()), f"the labels of the last {horizon} rows must be NaN"
        known = panel.labels[~np.isnan(panel.labels)]
        assert len(known) > 0, "no row has a label"
        if panel.target.task == "binary":
            assert set(np.unique(known)) <= {0.0, 1.0}

    def test_reading_twice_returns_the_same(self, make: Callable[[], Dataset]) -> None:
        """A second dataset returns a bit-identical panel; otherwise no study could be resumed [G52]."""
        import numpy as np

        first, second = make().panel(), make().panel()
        assert np.array_equal(first.values, second.values)
        assert np.array_equal(first.labels, second.labels, equal_nan=True)
        assert np.array_equal(first.times, second.times)
        assert first.features == second.features

    def test_it_can_be_split(self, make: Callable[[], Dataset]) -> None:
        """The core can compute splits, checks, baselines and a fingerprint; a small table suffices."""
        from scalecore.data.prepare import describe

        described = describe(make().panel(), min_validation_samples=1, min_validation_positives=1)
        assert set(described.parts) == {"train", "val", "test"}
        assert all(part.windows > 0 for part in described.parts.values())
