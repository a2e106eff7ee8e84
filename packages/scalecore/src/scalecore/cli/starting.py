"""What `scalecore init` puts into an experiment file: components that fit together, a table, a space to begin with."""

from __future__ import annotations

import csv
import io
import itertools
import math
import random
import re
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any

from scalecore.api.dataset_options import ReadOptions
from scalecore.api.errors import DataError, ExperimentError
from scalecore.api.space import DataShape
from scalecore.config.structure import make_converter
from scalecore.config.template import Components, example_values, file_option
from scalecore.data.table_files import check_header, kind_of, read_text
from scalecore.plugins.discovery import CORE
from scalecore.plugins.registry import Registered, Registry, known_provider

__all__ = [
    "EXAMPLE_DATA",
    "Wanted",
    "choose",
    "lost_keys",
    "refuse_exchanged",
    "starting_values",
    "suggested",
    "table_values",
    "write_example_data",
]

EXAMPLE_DATA = "example-prices.csv"
"""A random walk, for who has no data at hand."""

_PREFERRED: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "dataset": ("parquet",),
        "model": ("patchtst", "linear"),
        "search": ("architectural", "random"),
        "executor": ("local",),
        "monitor": ("memory", "thermal", "disk"),
        "logger": ("console", "files", "csv"),
        "analysis": (),
    }
)
"""What is taken where nothing is said, as far as it is installed: of the first four kinds one, of the others all."""

_LISTS = {"monitor": "monitors", "logger": "loggers", "analysis": "analyses"}

_BUDGET = 2_000_000

Wanted = Mapping[str, Sequence[str]]
"""Names of components by kind, as the user gave them; a kind that is not there is left to `suggested`."""


def suggested(registry: Registry, kind: str) -> tuple[str, ...]:
    """The names that are taken for a kind where nothing is said."""
    found = registry.components(kind)
    own = {one.name: one.use for one in found if one.provider in (CORE, known_provider(kind, one.name))}
    known = tuple(own[name] for name in _PREFERRED[kind] if name in own)
    return known if kind in _LISTS else (known or tuple(one.use for one in found))[:1]


def choose(registry: Registry, wanted: Wanted) -> Components:
    """The components of these names, and what is suggested for the other kinds.

    Raises the `PluginError` of a name that is not there, or an `ExperimentError` for a kind of which nothing is.
    """
    found: dict[str, list[Registered]] = {}
    for kind in _PREFERRED:
        names = wanted.get(kind) or suggested(registry, kind)
        found[kind] = [registry.get(kind, name) for name in names]
        if not found[kind] and kind not in _LISTS:
            raise ExperimentError(f"no {kind} is installed: see `scalecore plugins`")
    others = {
        _LISTS.get(kind, "execution" if kind == "executor" else kind): [
            one.use for one in registry.components(kind) if one.use not in {chosen.use for chosen in found[kind]}
        ]
        for kind in _PREFERRED
    }
    return Components(
        dataset=found["dataset"][0],
        model=found["model"][0],
        search=found["search"][0],
        executor=found["executor"][0],
        monitors=found["monitor"],
        loggers=found["logger"],
        analyses=found["analysis"],
        others=others,
    )


def starting_values(components: Components, *, name: str, data: str) -> dict[str, Any]:
    """The values that stand in the file: components with what they require, the data, a budget, a learning rate.

    `data` is the path of the table as the file will name it.
    """
    dataset = example_values(components.dataset)
    file = file_option(components.dataset)
    if file is not None:
        dataset[file.name] = data
    search: dict[str, Any] = {"trials": 20}
    budget = _budget(components.model)
    if budget is not None:
        search["budget"] = budget
    space = {"learning_rate": {"log_uniform": [1e-4, 1e-3]}}
    values: dict[str, Any] = {"name": name, "seed": 42, "dataset": dataset, "model": example_values(components.model)}
    values["search"] = {**example_values(components.search), **search, "space": space}
    if components.executor.use != "local":
        values["execution"] = example_values(components.executor)
    for key in _LISTS.values():
        if components.of(key) or key == "loggers":
            values[key] = [example_values(one) for one in components.of(key)]
    return values


def _budget(model: Registered) -> str | int | None:
    """Of a family with a grid, which may reach from thousands to billions: 2M, or what it has nearest to it.

    None where all of its shapes are smaller. They are counted for windows of an ordinary size; who has other windows
    has other counts, but not by as much as the tolerance of a budget.
    """
    record: Any = model.record
    if not getattr(record, "grid", ()):
        return None
    given = {name: value for name, value in example_values(model).items() if name != "use"}
    try:
        family = record.factory(make_converter(Path.cwd()).structure(given, record.options))
        data = DataShape(context=20, features=5, outputs=1)
        sizes = [family.num_parameters(one, data) for one in family.architecture_space(data).architectures]
        nearest = min(sizes, key=lambda size: abs(math.log(size / _BUDGET)))
    except Exception:
        # What is wrong with the family, or with the options that it requires, is told by the check and the plan.
        return "2M"
    if abs(nearest / _BUDGET - 1) < 0.1:
        return "2M"
    return None if max(sizes) < _BUDGET else int(float(f"{nearest:.2g}"))


def refuse_exchanged(components: Components, values: Mapping[str, Any]) -> None:
    """An `ExperimentError` where a KEY=VALUE names other components than were chosen, or puts something else there.

    They are chosen before, since what they require, and the comments of the file, follow from them.
    """
    for key in ("dataset", "model", "search", "execution", *_LISTS.values()):
        if key not in values:
            continue
        chosen = [one.name for one in components.of(key)]
        items = values[key] if key in _LISTS.values() else [values[key]]
        names = (
            [one.get("use", chosen[0]) for one in items if isinstance(one, dict)] if isinstance(items, list) else None
        )
        if names != chosen or len(items) != len(chosen):
            options = {"search": "strategy", "execution": "executor"} | {name: kind for kind, name in _LISTS.items()}
            raise ExperimentError(
                f"{key}: components are chosen by --{options.get(key, key)} NAME, and KEY=VALUE sets their options"
            )


def lost_keys(given: Any, written: Any, path: str = "") -> list[str]:
    """The keys of `given`, joined by dots, that are not in `written`."""
    if isinstance(given, list):
        given = dict(enumerate(given))
        written = dict(enumerate(written)) if isinstance(written, list) else {}
    if not isinstance(given, dict):
        return []
    found = []
    for key, value in given.items():
        here = f"{path}{key}"
        there = isinstance(written, dict) and key in written
        found += lost_keys(value, written[key], f"{here}.") if there else [here]
    return found


def table_values(file: Path) -> dict[str, Any]:
    """Options of the dataset `parquet` for a table, by its columns: numbers are features, a close makes a target."""
    columns = _numeric_columns(file)
    if not columns:
        raise ExperimentError(f"{file}: no column with numbers was found; give another file with --data")
    close = next((name for name in columns if name.lower() in ("close", "adj close", "adj_close")), None)
    if close is None:
        target: dict[str, Any] = {"kind": "label", "column": columns[-1]}
        return {"features": columns[:-1] or columns, "target": target}
    target = {"kind": "direction"}
    return {"features": columns, "target": target if close == "Close" else {**target, "columns": {"close": close}}}


def _numeric_columns(file: Path) -> list[str]:
    if not file.exists():
        raise ExperimentError(f"{file}: there is no such file")
    part = next(iter(sorted(file.rglob("*.parquet"))), file) if file.is_dir() else file
    try:
        if kind_of(part, name=str(part)) == "parquet":
            import pyarrow.parquet
            import pyarrow.types as types

            schema = pyarrow.parquet.read_schema(part)
            return [one.name for one in schema if types.is_floating(one.type) or types.is_integer(one.type)]
        text = read_text(part, reading=ReadOptions(), name=str(part))
        check_header(text, reading=ReadOptions(), name=str(part))
        names, first = itertools.islice(itertools.chain(csv.reader(io.StringIO(text)), [[], []]), 2)
    except DataError as error:
        raise ExperimentError(str(error)) from None
    except (OSError, ValueError, csv.Error) as error:
        raise ExperimentError(f"{file}: cannot be read as a table ({error})") from None
    number = re.compile(r"\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*")
    return [name for name, cell in zip(names, first, strict=False) if number.fullmatch(cell)]


def write_example_data(file: Path, *, rows: int = 2000) -> None:
    """Daily prices that were made up: a random walk with a day's spread of 1 %, the same on every machine."""
    draw, day, close = random.Random(7), date(2015, 1, 1), 100.0
    lines = ["Date,Open,High,Low,Close,Volume"]
    for _ in range(rows):
        day += timedelta(days=3 if day.weekday() == 4 else 1)
        opened, close = close, close * math.exp(draw.gauss(0.0003, 0.01))
        high = max(opened, close) * (1 + abs(draw.gauss(0, 0.004)))
        low = min(opened, close) * (1 - abs(draw.gauss(0, 0.004)))
        volume = draw.randrange(1_000_000, 9_000_000)
        lines.append(f"{day},{opened:.4f},{high:.4f},{low:.4f},{close:.4f},{volume}")
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
