"""Reading the rows for a prediction."""

from __future__ import annotations

from pathlib import Path

import pytest

from scalecore.api.errors import DataError
from scalecore_promotion.model import StoredModel
from scalecore_promotion.predict import rows_of_file


@pytest.mark.parametrize(
    ("dataset", "hint"),
    [
        ("parquet", ""),
        (
            "prices",
            ". DATA must contain the features that dataset 'prices' computes; if it is an input file of that dataset, "
            "use --dataset KEY=VALUE instead",
        ),
    ],
)
def test_raw_rows_for_a_model_of_computed_features_get_a_hint(dataset: str, hint: str, tmp_path: Path) -> None:
    """The message explains how to pass such rows, but only if the dataset computes features."""
    path = tmp_path / "raw.csv"
    path.write_text("Date,Close\n2024-01-02,1.5\n2024-01-03,1.25\n")
    content = {"data": {"block": {"use": dataset}, "features": ["close"]}}
    model = StoredModel(folder=tmp_path, content=content)
    with pytest.raises(DataError) as refused:
        rows_of_file(model, path)
    assert str(refused.value) == (
        f"{path}: there is no feature 'close'; did you mean 'Close'? Names are case-sensitive [G55]{hint}"
    )


def test_rows_are_read_with_the_options_of_the_study(tmp_path: Path) -> None:
    """New rows come from the same source, with its separators, decimal marks and dates."""
    path = tmp_path / "rows.csv"
    path.write_text("Datum;close\n02.01.2024;1,5\n03.01.2024;1.250,25\n")
    read = {"date_format": "%d.%m.%Y", "separator": ";", "decimal": ",", "zone": None, "encoding": None}
    block = {"use": "parquet", "time": "Datum", "read": read}
    model = StoredModel(folder=tmp_path, content={"data": {"block": block, "features": ["close"]}})
    rows = rows_of_file(model, path)
    assert rows.values.tolist() == [[1.5], [1250.25]]
    assert rows.times.astype("datetime64[D]").astype(str).tolist() == ["2024-01-02", "2024-01-03"]
