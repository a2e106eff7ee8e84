"""The bundled data matches its README."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

FILES = ("spy_daily.parquet", "vix_daily.parquet")


@pytest.mark.parametrize("name", FILES)
def test_bytes_equal_the_checksum_in_the_readme(examples: Path, name: str) -> None:
    """The files are those for which the README states the licence."""
    found = re.search(rf"^\| `{name}` \| `([0-9a-f]{{64}})` \|$", (examples / "README.md").read_text(), re.MULTILINE)
    assert found is not None
    assert hashlib.sha256((examples / name).read_bytes()).hexdigest() == found.group(1)


@pytest.mark.parametrize("name", FILES)
def test_rows_and_dates_are_those_of_the_readme(examples: Path, name: str) -> None:
    """Row counts and date ranges equal the table, and bars are complete."""
    found = re.search(
        rf"^\| `{name}` \| .+? \| (\d+) \| (\S+) \| (\S+) \| (MIT|PDDL-1.0) \|",
        (examples / "README.md").read_text(),
        re.MULTILINE,
    )
    assert found is not None
    bars = pd.read_parquet(examples / name)
    assert (str(len(bars)), str(bars.index[0].date()), str(bars.index[-1].date())) == found.groups()[:3]
    assert bars.index.is_monotonic_increasing
    assert bars.index.is_unique
    assert np.isfinite(bars.to_numpy()).all()
    assert (bars["High"] >= bars["Low"]).all()


def test_every_data_file_is_in_the_readme(examples: Path) -> None:
    """Every shipped file has a source and a licence."""
    made = {"make_switches.py", "switches.csv", "make_load.py", "load.parquet"}
    assert {path.name for path in examples.iterdir()} == {"README.md", *made, *FILES}
