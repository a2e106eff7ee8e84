"""Read result files: trial files and journals of scalecore, and lists and tables of trials from other tools.

A record contains the content of its file under the file's names, without any validation; `decisions` compares it with
a study.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import field, frozen

from scalecore.api.engine import (
    read_state,
)
from scalecore.api.errors import ExperimentError
from scalecore.api.record_parts import Flag
from scalecore.api.trials import TrialState
from scalecore_analysis.importing.tables import CLAIMS, read_table

STATES = {"complete": TrialState.COMPLETED, "fail": TrialState.FAILED} | {str(state): state for state in TrialState}
"""Known names of states, in lower case and without the name of an enum."""
FORCED = "forced_"
POSITIONS = ("arch_idx", "arch_index", "architecture_idx", "architecture_index")
COUNTS = ("param_count", "num_parameters")
_NUMBER = re.compile(r"\s*[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?\s*", re.IGNORECASE)


@frozen(kw_only=True)
class OldRecord:
    """One trial with the content of its file. `values` are all parameters by name, from any place in the file."""

    source: str
    path: Path
    """The file, as given by the user."""
    number: int | None = None
    state: TrialState | None = None
    """None for an unknown or missing state; `state_text` is the text in the file."""
    state_text: str = "none"
    value: float | None = None
    values: Mapping[str, Any] = field(factory=dict)
    attributes: Mapping[str, Any] = field(factory=dict)
    """Further scalar attributes; some tools store the architecture there."""
    stated_parameters: int | None = None
    position: Any = None
    """An index into a list of architectures that the file does not contain."""
    hash: str | None = None
    seed: int | None = None
    fingerprint: str | None = None
    objective: Mapping[str, Any] | None = None
    flags: Sequence[Flag] = ()
    """Flags of the original study, if the file contains them."""
    problem: str | None = None
    """Why the record is unreadable."""
    conflicts: tuple[str, ...] = ()
    """Names with two different values in the file."""
    architecture: frozenset[str] = frozenset()
    """Names of `values` that the file lists as the architecture."""
    forced: frozenset[str] = frozenset()
    """Names of `values` that only `forced_` attributes have: parameters or marks of a forced trial."""
    is_forced: bool = False
    """Whether it was a forced trial."""
    empty: bool = False
    """Whether its `params` exist and are empty."""
    claims: Mapping[str, Any] = field(factory=dict)
    """Properties of its study, by the keys of `CLAIMS`."""


def read_old_results(paths: Sequence[Path]) -> list[OldRecord]:
    """All records of all files in order; a file given twice is read once. Unreadable content becomes a record with a
    `problem`.

    For a folder this reads its journal, else its `trials/trial_*.json`, else its JSON and CSV files and its subfolders.
    Raises `ExperimentError` if a path does not exist.
    """
    records: list[OldRecord] = []
    read: set[Path] = set()
    readers = {".jsonl": _journal, ".csv": _csv}
    for path in paths:
        if not os.path.exists(path):
            raise ExperimentError(f"{path}: there is no such file or folder")
        files = [path] if path.is_file() else list(_files(path))
        if not files:
            raise ExperimentError(f"{path}: no result files found (a journal, trials/trial_*.json, *.json or *.csv)")
        for file in files:
            if file.resolve() not in read:
                read.add(file.resolve())
                records += readers.get(file.suffix.lower(), _json)(file)
    return records


def as_number(value: Any) -> int | float | None:
    """A number, also from text such as `"128"` or `"1e-4"`; None for anything else, including booleans."""
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        # int() raises for very long text; no value needs that many digits.
        return int(value) if len(value) < 400 and value.strip().lstrip("+-").isdecimal() else float(value)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def same(first: Any, second: Any) -> bool:
    """Whether two values are equal: 256, 256.0 and "256" are; True and 1 are not."""
    a, b = as_number(first), as_number(second)
    if a is None or b is None:
        return type(first) is type(second) and bool(first == second)
    return a == b


def _files(folder: Path) -> Iterator[Path]:
    if (folder / "journal.jsonl").exists():
        yield folder / "journal.jsonl"
        return
    if trials := sorted((folder / "trials").glob("trial_*.json")):
        yield from trials
        return
    inside = sorted(folder.iterdir())
    yield from (one for one in inside if one.suffix.lower() in (".json", ".csv") and one.is_file())
    # A link may point to a parent folder.
    for one in inside:
        if one.is_dir() and not one.is_symlink() and not one.name.startswith("."):
            yield from _files(one)


def _json(path: Path) -> Iterator[OldRecord]:
    try:
        # Old files contain NaN and Infinity, which are not valid JSON; they become floats, and then missing values.
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except RecursionError:
        yield _unreadable(path, "the file cannot be read as JSON: it is nested too deeply")
        return
    except (OSError, ValueError) as error:
        text = "is empty" if path.stat().st_size == 0 else f"cannot be read as JSON: {error}"
        yield _unreadable(path, f"the file {text}")
        return
    items = _items(content)
    if not items:
        yield _unreadable(path, "the file contains no trials")
        return
    around = content if isinstance(content, dict) and not _is_trial(content) else {}
    for index, item in enumerate(items):
        place = index if len(items) > 1 else None
        if _is_trial(item):
            yield _record(path, place, item, around=around)
        else:
            yield _unreadable(path, "not a trial: neither `state` nor `params` is present", place=place)


def _items(content: Any) -> list[Any]:
    """A list of trials, bare or under a key; trials by number; or one trial."""
    if not isinstance(content, dict) or _is_trial(content):
        return content if isinstance(content, list) else [content] if isinstance(content, dict) else []
    lists = [one for one in content.values() if isinstance(one, list) and any(map(_is_trial, one))]
    if isinstance(content.get("trials"), list):
        lists.insert(0, content["trials"])
    if lists:
        return lists[0]
    numbered = list(content.values())
    return numbered if numbered and all(map(_is_trial, numbered)) else [content]


def _is_trial(item: Any) -> bool:
    return isinstance(item, dict) and ("state" in item or "params" in item)


def _csv(path: Path) -> Iterator[OldRecord]:
    rows = read_table(path)
    if isinstance(rows, str):
        yield _unreadable(path, f"the file {rows}")
        return
    for index, row in enumerate(rows):
        place = index if len(rows) > 1 else None
        yield _unreadable(path, row, place=place) if isinstance(row, str) else _record(path, place, row, around={})


def _record(path: Path, place: int | None, item: Mapping[str, Any], *, around: Mapping[str, Any]) -> OldRecord:
    params, attributes = _mapping(item.get("params")), _mapping(item.get("user_attrs"))
    architecture = {**_mapping(attributes.get("architecture")), **_mapping(item.get("architecture"))}
    stated = next((architecture.pop(key) for key in COUNTS if key in architecture), None)
    forced = {name.removeprefix(FORCED): one for name, one in attributes.items() if name.startswith(FORCED)}
    # `forced_d_model: true` with a value of `d_model` only marks what was forced.
    forced = {
        name: one for name, one in forced.items() if not (isinstance(one, bool) and name in {**params, **architecture})
    }
    flat = {name: one for name, one in attributes.items() if isinstance(one, int | float | str | bool)}
    values: dict[str, Any] = {}
    conflicts = []
    # Suggestions of a sampler are in `params`; forced values are in the attributes.
    for given in (params, forced, architecture):
        for name, one in given.items():
            if name in values and not same(values[name], one):
                conflicts.append(f"{name} is {values[name]!r} and {one!r}")
            values.setdefault(name, one)
    position = next((given[name] for given in (values, flat) for name in POSITIONS if name in given), None)
    text = str(item.get("state", "")).rpartition(".")[2]
    data = _mapping(attributes.get("data")) or _mapping(around.get("data"))
    origin = _mapping(item.get("origin")).get("kind") or item.get("origin") or attributes.get("origin")
    marked = any(name.startswith(FORCED) and one not in (None, False, "") for name, one in attributes.items())
    # Optuna's mark of an enqueued trial, in JSON and in its table.
    marked |= "fixed_params" in _mapping(item.get("system_attrs")) or "system_attrs_fixed_params" in attributes
    several = item.get("values")
    value = several[0] if isinstance(several, list) and len(several) == 1 else item.get("value")
    return OldRecord(
        source=_source(path, place),
        path=path,
        number=_integer(item.get("number")),
        state=STATES.get(text.lower()),
        state_text=text or "none",
        value=_number(value),
        values=values,
        attributes=flat,
        stated_parameters=_integer(
            next((flat[key] for key in COUNTS if key in flat), None) if stated is None else stated
        ),
        position=position,
        hash=item.get("hash") if isinstance(item.get("hash"), str) else None,
        seed=_integer(item.get("seed", attributes.get("seed"))),
        fingerprint=data.get("fingerprint") if isinstance(data.get("fingerprint"), str) else None,
        flags=_flags(item.get("flags")),
        conflicts=tuple(conflicts),
        architecture=frozenset(architecture),
        forced=frozenset(name for name in forced if name not in params and name not in architecture),
        is_forced=marked or attributes.get("forced") in (True, 1, "1", "true") or str(origin).startswith("forced"),
        empty=item.get("params") == {},
        claims=_claims(item, attributes, around),
    )


def _claims(*places: Mapping[str, Any]) -> dict[str, Any]:
    """Claims from the given places; the first place with a claim wins."""
    found: dict[str, Any] = {}
    for place in places:
        for inner in (place, *(_mapping(place.get(name)) for name in ("config", "metadata", "experiment"))):
            for claim, keys in CLAIMS.items():
                said = next((inner[key] for key in keys if isinstance(inner.get(key), str | int | float)), None)
                if said is not None and said != "":
                    found.setdefault(claim, said)
    return found


def _journal(path: Path) -> Iterator[OldRecord]:
    """The finished trials of a scalecore study."""
    with path.open("rb") as stream:
        foreign = path.name != "journal.jsonl" and b'"event"' not in stream.readline()
    if foreign:
        yield _unreadable(path, "not a scalecore journal; provide trials as a JSON list or a CSV table")
        return
    state = read_state(path)
    if not state.records:
        yield _unreadable(path, "the journal contains no finished trials")
    # Scalar options of the model, such as the patch length, also define an architecture.
    options = {name: one for name, one in _mapping(state.experiment.get("model")).items() if not isinstance(one, list)}
    options.pop("use", None)
    for record in state.records:
        yield OldRecord(
            source=f"{path}[trial {record.number}]",
            path=path,
            number=record.number,
            state=record.state,
            state_text=str(record.state),
            value=record.value,
            values={**options, **record.hyperparameters, **record.architecture.values},
            stated_parameters=record.architecture.num_parameters,
            hash=record.hash,
            seed=record.seed,
            fingerprint=record.data.fingerprint,
            objective=state.experiment.get("objective"),
            architecture=frozenset(record.architecture.values),
            is_forced=record.origin.kind == "forced",
            claims=_claims(
                {"experiment_name": state.experiment.get("name"), **_mapping(state.experiment.get("search"))}
            ),
            flags=record.flags,
        )


def _source(path: Path, place: int | None) -> str:
    return str(path) if place is None else f"{path}[{place}]"


def _unreadable(path: Path, problem: str, *, place: int | None = None) -> OldRecord:
    return OldRecord(source=_source(path, place), path=path, problem=problem)


def _flags(value: Any) -> tuple[Flag, ...]:
    """Flags of a scalecore trial file; other files may use the name for something else."""
    flags = value if isinstance(value, list) else []
    texts = (one for one in flags if isinstance(one, dict) and all(isinstance(text, str) for text in one.values()))
    return tuple(Flag(**{name: one[name] for name in ("guard", "kind", "text") if name in one}) for one in texts)


def _mapping(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, Mapping) else {}


def _number(value: Any) -> float | None:
    """A finite number, or None: NaN and infinity count as missing."""
    found = as_number(value)
    if found is None:
        return None
    try:
        number = float(found)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _integer(value: Any) -> int | None:
    number = _number(value)
    if number is None or number != int(number):
        return None
    found = as_number(value)
    return found if isinstance(found, int) else int(number)
