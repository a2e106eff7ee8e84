"""The glossary has each term once, and all terms of records and experiment files."""

from __future__ import annotations

import re
from collections import Counter
from typing import get_args

from scalecore.api.trials import OriginKind, TrialState
from scalecore.plugins.kinds import KINDS


def test_each_term_is_defined_once(handbook: dict[str, str]) -> None:
    """It has one row, with at most three sentences."""
    rows = re.findall(r"^\| (?!term|---)([^|]+) \| ([^|]+) \|$", handbook["glossary.md"], re.MULTILINE)
    terms = Counter(term for names, _ in rows for term in names.split(", "))
    assert len(terms) >= 50
    assert {term: count for term, count in terms.items() if count > 1} == {}
    for names, meaning in rows:
        assert len(re.findall(r"[.!?](?= |$)", meaning)) <= 3, names


def test_the_terms_of_records_are_in_the_glossary(handbook: dict[str, str]) -> None:
    """It has every kind of component and every origin and state of a trial."""
    for term in (*KINDS, *get_args(OriginKind), *TrialState):
        assert re.search(rf"\b{term.removeprefix('search ')}\b", handbook["glossary.md"]), term
