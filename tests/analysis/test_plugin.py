from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import attrs
import pytest

from scalecore.api.components import AnalysisRecord
from scalecore.api.protocols import Analysis
from scalecore_analysis.plugin import scalecore_analyses

RECORDS = {record.name: record for record in scalecore_analyses()}


def test_importing_the_plugin_imports_nothing_heavy() -> None:
    """The plugin module and its options load neither numpy nor anything that is built on it."""
    code = "import sys, json, scalecore_analysis.plugin; print(json.dumps(sorted(sys.modules)))"
    output = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    loaded = set(json.loads(output))
    assert "scalecore_analysis.options" in loaded
    assert loaded.isdisjoint({"numpy", "scipy", "sklearn", "altair", "vl_convert", "jinja2", "torch", "pandas"})


@pytest.mark.parametrize("record", RECORDS.values(), ids=RECORDS)
def test_every_analysis_can_be_made_with_its_default_options(record: AnalysisRecord) -> None:
    """Each factory gives an analysis."""
    assert isinstance(record.factory(record.options()), Analysis)


@pytest.mark.parametrize("record", RECORDS.values(), ids=RECORDS)
def test_every_analysis_and_each_of_its_options_is_documented(record: AnalysisRecord) -> None:
    """In a chapter of its own of docs/analyses.md, and in the package's README."""
    root = Path(__file__).parents[2]
    text = (root / "docs" / "analyses.md").read_text(encoding="utf-8")
    chapter = re.search(rf"^## `{record.name}`\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert chapter is not None
    for one in attrs.fields(record.options):
        assert f"`{one.name}`" in chapter[1], one.name
    readme = (root / "packages" / "scalecore-analysis" / "README.md").read_text(encoding="utf-8")
    assert f"| `{record.name}` |" in readme
