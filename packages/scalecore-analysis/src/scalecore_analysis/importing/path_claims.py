"""Compare the names of a result file and its folders with the content of its records.

Both may name a budget (`20M` or `20m`), a tier of features (`a25`), an experiment or a horizon (`h5`). Only names of
the same kind can contradict: a path without a budget does not contradict one.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from scalecore_analysis.importing.readers import OldRecord, as_number

FOLDERS = 2
"""Number of folders above a file whose names are read; higher folders have unrelated names."""
_LABEL = re.compile(r"(?<![A-Za-z0-9.])(\d+(?:\.\d+)?)([kKmMbB])(?![A-Za-z0-9])")
_HORIZON = re.compile(r"(?<![a-z0-9])h(?:orizon)?[-_]?(\d+)(?![a-z0-9])")
_UNITS = {"": 1.0, "k": 1e3, "m": 1e6, "b": 1e9}
_KIND = re.compile(r"([a-z]*)\d")
_NAMED = re.compile(r"(.+?)[-_](?:all[-_]trials|study[-_]summary|summary|best|trials|results)$", re.IGNORECASE)
"""File names that start with the name of their experiment, optionally followed by its budget."""
GENERIC = re.compile(
    r"all|archive|best|csv|data|experiments?|files|journal|json|logs?|old|optuna|outputs?|reports?|results?|runs?|search"
    r"|study|studies|summary|trials?"
)
"""Words that name no experiment."""


def places(path: Path, *, project: Path) -> list[str]:
    """The relevant names of a file: its own, then those of its folders, without `trials/`.

    Excludes folders that also contain the `project` into which the file is imported.
    """
    above = path.parent.resolve()
    folders = list(above.relative_to(os.path.commonpath([above, project.resolve()])).parts)
    if folders and folders[-1] == "trials":
        folders.pop()
        return folders[: -FOLDERS - 1 : -1]
    return [path.stem, *folders[: -FOLDERS - 1 : -1]]


def label_of(name: str) -> tuple[str, int] | None:
    """The budget in a name and its number of parameters; of several budgets the only one in capitals, else None."""
    found = [match for match in _LABEL.finditer(name) if float(match[1]) > 0]
    if len(found) > 1:
        found = [match for match in found if match[2].isupper()]
    return (found[0][0], round(float(found[0][1]) * _UNITS[found[0][2].lower()])) if len(found) == 1 else None


def budget_of(said: Any) -> int | None:
    """The number of parameters of a budget in any form of a record: `20M`, `"20 m"`, 20000000."""
    number = as_number(said)
    if number is not None:
        return round(number) if 0 < number < 1e18 else None
    found = label_of(str(said).replace(" ", ""))
    return None if found is None else found[1]


def contradictions(record: OldRecord, *, experiments: Iterable[str], project: Path) -> list[str] | None:
    """The contradictions between a record and its path; None if either of them makes no claim.

    `experiments` are the experiment names of all records: a path that contains one of them names that experiment.
    """
    names = places(record.path, project=project)
    found: list[list[str] | None] = [_budget(record, names)]
    if (horizon := as_number(str(record.claims.get("horizon")).lower().removeprefix("h"))) is not None:
        others = [match[0] for name in names for match in _HORIZON.finditer(name.lower())]
        found.append(
            _against("horizon", f"{horizon:g}", others, [one for one in others if int(_digits(one)) != horizon])
        )
    found += [
        _named(claim, str(record.claims[claim]), names, known)
        for claim, known in (("tier", ()), ("experiment", experiments))
        if claim in record.claims
    ]
    known = [one for one in found if one is not None]
    return None if not known else [text for one in known for text in one]


def _budget(record: OldRecord, names: Sequence[str]) -> list[str] | None:
    labels = [label for label in map(label_of, names) if label is not None]
    said = budget_of(record.claims["budget"]) if "budget" in record.claims else None
    if said is None:
        others = [text for text, count in labels if count != labels[0][1]]
        return [f"the file name has {labels[0][0]}, the folder name {others[0]}"] if others else None
    others = [text for text, count in labels if count != said]
    return _against("budget", str(record.claims["budget"]), [text for text, _ in labels], others)


def _named(claim: str, said: str, names: Sequence[str], experiments: Iterable[str]) -> list[str] | None:
    """Compare a name with the words of the path."""
    words = _words(said)
    found = {word for name in names for word in _words(name)}
    # A file in a folder of another budget contradicts the budget, not the experiment.
    elsewhere = {word for word in words & found if _LABEL.fullmatch(word)}
    for name in names:
        beside = _words(name)
        wrong = [
            one for word in sorted(words - beside - elsewhere) for one in sorted(beside - words) if _differ(word, one)
        ]
        if wrong:
            return _against(claim, said, wrong, wrong)
    if names and words <= found:
        return []
    if not names or claim != "experiment":
        return None
    for other in experiments:
        if not _words(other) <= words and any(_words(other) <= _words(name) for name in names):
            return _against(claim, said, [other], [other])
    match = _NAMED.fullmatch(names[0])
    own = _words(match[1] if match else names[0])
    own = {word for word in own if not GENERIC.fullmatch(word) and not _LABEL.fullmatch(word)}
    alike = own & words and len(own) == len(words)
    return _against(claim, said, [names[0]], [names[0]]) if own - words and (match or alike) else None


def _against(claim: str, said: str, found: Sequence[str], others: Sequence[str]) -> list[str] | None:
    if not found:
        return None
    return [f"{claim} {said!r}, but the path has {others[0]!r}"] if others else []


def _words(name: str) -> set[str]:
    return set(re.findall(r"[a-z0-9]+(?:\.\d+[a-z]?)?", name.lower()))


def _differ(word: str, other: str) -> bool:
    """Words of the same kind with different numbers, as `a50` and `a25`. `phase6a` belongs to `phase6`."""
    longer, shorter = sorted((word, other), key=len, reverse=True)
    part = longer.startswith(shorter) and longer.removeprefix(shorter).isalpha()
    return _kind(word) is not None and _kind(word) == _kind(other) and not part


def _kind(word: str) -> str | None:
    """`a#` for a25 and a50, `#m` for 20m; None for a word without a number, and for a bare number."""
    if label := _LABEL.fullmatch(word):
        return f"#{label[2]}"
    match = _KIND.match(word)
    return f"{match[1]}#" if match and match[1] else None


def _digits(word: str) -> str:
    return re.sub(r"\D", "", word)
