"""Which rows a prediction is made for."""

from __future__ import annotations

from pathlib import Path

import pytest

from scalecore.errors import DataError
from scalecore.promotion.model import StoredModel
from scalecore.promotion.predict import rows_of_file


@pytest.mark.parametrize(
    ("dataset", "hint"),
    [
        ("parquet", ""),
        (
            "prices",
            ". DATA must hold the features that dataset 'prices' made; where it is what that dataset reads, name the "
            "dataset's options instead, --dataset KEY=VALUE",
        ),
    ],
)
def test_raw_rows_for_a_model_of_computed_features_are_told_apart(dataset: str, hint: str, tmp_path: Path) -> None:
    """The message says how such rows are given, and only where features are computed."""
    path = tmp_path / "raw.csv"
    path.write_text("Date,Close\n2024-01-02,1.5\n2024-01-03,1.25\n")
    content = {"data": {"block": {"use": dataset}, "features": ["close"]}}
    model = StoredModel(folder=tmp_path, content=content)
    with pytest.raises(DataError) as refused:
        rows_of_file(model, path)
    assert str(refused.value) == (
        f"{path}: there is no feature 'close'; did you mean 'Close'? Names are case-sensitive [G55]{hint}"
    )
