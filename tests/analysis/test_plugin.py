from __future__ import annotations

import re
from pathlib import Path

import attrs
import pytest

from scalecore.api.analysis import Analysis
from scalecore.api.components import AnalysisRecord
from scalecore_analysis.plugin import scalecore_analyses

RECORDS = {record.name: record for record in scalecore_analyses()}


@pytest.mark.parametrize("record", RECORDS.values(), ids=RECORDS)
def test_every_analysis_can_be_created_with_default_options(record: AnalysisRecord) -> None:
    """Each factory returns an analysis."""
    assert isinstance(record.factory(record.options()), Analysis)


@pytest.mark.parametrize("record", RECORDS.values(), ids=RECORDS)
def test_every_analysis_and_each_of_its_options_is_documented(record: AnalysisRecord) -> None:
    """In a separate section of docs/analyses.md, and in the package's README."""
    root = Path(__file__).parents[2]
    text = (root / "docs" / "analyses.md").read_text(encoding="utf-8")
    chapter = re.search(rf"^## `{record.name}`\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert chapter is not None
    for one in attrs.fields(record.options):
        assert f"`{one.name}`" in chapter[1], one.name
    readme = (root / "packages" / "scalecore-analysis" / "README.md").read_text(encoding="utf-8")
    assert f"| `{record.name}` |" in readme
