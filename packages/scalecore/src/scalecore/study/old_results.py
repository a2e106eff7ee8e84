"""Old result files as they come: trial files and journals of scalecore, and lists of trials that others wrote.

Nothing is judged here. A record holds what its file says, under the names that the file uses; `study.verdicts` compares
it with a study.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import field, frozen

from scalecore.errors import ExperimentError
from scalecore.study.journal import read_journal
from scalecore.study.state import replay
from scalecore.trials import TrialState

__all__ = ["OldRecord", "read_old_results"]

STATES = {"complete": TrialState.COMPLETED, "fail": TrialState.FAILED} | {str(state): state for state in TrialState}
"""Names of states that have been used, in lower case and without the enum's name in front."""
FORCED = "forced_"
POSITIONS = ("arch_idx", "arch_index", "architecture_idx", "architecture_index")


@frozen(kw_only=True)
class OldRecord:
    """One trial as its file tells it. `values` are all parameters by name, wherever the file has them."""

    source: str
    number: int | None
    state: TrialState | None
    """None for a state of another name, or none at all; `state_text` is what the file says."""
    state_text: str
    value: float | None
    values: Mapping[str, Any]
    attributes: Mapping[str, Any] = field(factory=dict)
    """Further plain attributes; some writers kept the architecture there."""
    stated_parameters: int | None = None
    position: Any = None
    """An index into a list of architectures that the file does not hold."""
    hash: str | None = None
    seed: int | None = None
    fingerprint: str | None = None
    objective: Mapping[str, Any] | None = None
    problem: str | None = None
    """Why this is no readable record at all."""
    conflicts: tuple[str, ...] = field(default=())
    """Names that the file gives two different values."""


def read_old_results(paths: Sequence[Path]) -> list[OldRecord]:
    """All records of all files, in their order, of each file once. What cannot be read is a record with a `problem`.

    A folder stands for its journal, else for `trials/trial_*.json` in it, else for all its JSON files. Raises
    `ExperimentError` where a path leads nowhere.
    """
    records: list[OldRecord] = []
    read: set[Path] = set()
    for path in paths:
        for file in _files(path):
            if file.resolve() not in read:
                read.add(file.resolve())
                records += _journal(file) if file.suffix == ".jsonl" else _json(file)
    return records


def _files(path: Path) -> list[Path]:
    if not os.path.exists(path):
        raise ExperimentError(f"{path}: there is no such file or folder")
    if path.is_file():
        return [path]
    if (path / "journal.jsonl").exists():
        return [path / "journal.jsonl"]
    found = sorted((path / "trials").glob("trial_*.json")) or sorted(path.glob("*.json"))
    if not found:
        raise ExperimentError(f"{path}: no result files here (neither a journal, nor trials/trial_*.json, nor *.json)")
    return found


def _json(path: Path) -> Iterator[OldRecord]:
    try:
        # Old files hold NaN and Infinity, which are no JSON; here they become floats, and then missing.
        content = json.loads(path.read_text(encoding="utf-8"))
    except RecursionError:
        yield _unreadable(str(path), "the file cannot be read as JSON: it is nested too deep")
        return
    except (OSError, ValueError) as error:
        text = "is empty" if path.stat().st_size == 0 else f"cannot be read as JSON: {error}"
        yield _unreadable(str(path), f"the file {text}")
        return
    if isinstance(content, dict) and isinstance(content.get("trials"), list):
        content = content["trials"]
    if isinstance(content, dict):
        content = [content]
    if not isinstance(content, list) or not content:
        yield _unreadable(str(path), "the file holds no trials")
        return
    several = len(content) > 1
    for index, item in enumerate(content):
        source = f"{path}[{index}]" if several else str(path)
        if isinstance(item, dict) and ("state" in item or "params" in item):
            yield _record(source, item)
        else:
            yield _unreadable(source, "this is no trial: it has neither `state` nor `params`")


def _record(source: str, item: Mapping[str, Any]) -> OldRecord:
    attributes = _mapping(item.get("user_attrs"))
    architecture = {**_mapping(attributes.get("architecture")), **_mapping(item.get("architecture"))}
    stated = next((architecture.pop(key) for key in ("param_count", "num_parameters") if key in architecture), None)
    forced = {name.removeprefix(FORCED): one for name, one in attributes.items() if name.startswith(FORCED)}
    flat = {name: one for name, one in attributes.items() if isinstance(one, int | float | str | bool)}
    values: dict[str, Any] = {}
    conflicts = []
    # What a sampler suggested stands in params; of forced trials the attributes hold it.
    for place in (_mapping(item.get("params")), forced, architecture):
        for name, one in place.items():
            if name in values and values[name] != one:
                conflicts.append(f"{name} is {values[name]!r} and {one!r}")
            values.setdefault(name, one)
    position = next((place[name] for place in (values, flat) for name in POSITIONS if name in place), None)
    text = str(item.get("state", "")).rpartition(".")[2]
    data = _mapping(attributes.get("data"))
    return OldRecord(
        source=source,
        number=_integer(item.get("number")),
        state=STATES.get(text.lower()),
        state_text=text or "none",
        value=_number(item.get("value")),
        values=values,
        attributes=flat,
        stated_parameters=_integer(stated if stated is not None else flat.get("param_count")),
        position=position,
        hash=item.get("hash") if isinstance(item.get("hash"), str) else None,
        seed=_integer(item.get("seed")),
        fingerprint=data.get("fingerprint") if isinstance(data.get("fingerprint"), str) else None,
        conflicts=tuple(conflicts),
    )


def _journal(path: Path) -> Iterator[OldRecord]:
    """The finished trials of a study of scalecore."""
    state = replay(read_journal(path))
    for record in state.records:
        yield OldRecord(
            source=f"{path}[trial {record.number}]",
            number=record.number,
            state=record.state,
            state_text=str(record.state),
            value=record.value,
            values={**record.hyperparameters, **record.architecture.values},
            stated_parameters=record.architecture.num_parameters,
            hash=record.hash,
            seed=record.seed,
            fingerprint=record.data.get("fingerprint"),
            objective=state.experiment.get("objective"),
        )


def _unreadable(source: str, problem: str) -> OldRecord:
    return OldRecord(source=source, number=None, state=None, state_text="none", value=None, values={}, problem=problem)


def _mapping(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, Mapping) else {}


def _number(value: Any) -> float | None:
    """A finite number, or None: NaN and infinities are missing."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _integer(value: Any) -> int | None:
    number = _number(value)
    if number is None or number != int(number):
        return None
    return value if isinstance(value, int) else int(number)
