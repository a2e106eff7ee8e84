"""`scalecore init`: write a commented experiment file for a data table."""

from __future__ import annotations

import json
import math
import random
import re
from datetime import date, timedelta
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

import click

from scalecore.api.errors import ExperimentError, ScalecoreError
from scalecore.cli.common import NewPath, plugin_options

if TYPE_CHECKING:
    from scalecore.builtin.detect_columns import DetectedColumns
    from scalecore.plugins.registry import Registry

SCHEMA = "scalecore.schema.json"
"""The JSON Schema next to the experiment file, whose first line names it."""
EXAMPLE_DATA = "example-prices.csv"
PURPOSES = ("prices", "table", "forecast")
CONTEXT, SHORT_CONTEXT, MANY_ROWS = 60, 20, 1500
"""Rows of a window for large and small tables: the gap between two parts of a split grows with the window."""


@click.command()
@click.argument("file", metavar="[FILE]", default="experiment.yaml", type=NewPath(dir_okay=False))
@click.option("--data", type=click.Path(path_type=Path), help="A parquet or CSV table; its columns become features.")
@click.option("--purpose", type=click.Choice(PURPOSES), help="What to predict; by default chosen from the table.")
@click.option("--label", metavar="COLUMN", help="The column with labels, for --purpose table or forecast.")
@click.option("--force", is_flag=True, help="Overwrite FILE if it exists.")
@plugin_options
def init(
    file: Path,
    *,
    data: Path | None,
    purpose: str | None,
    label: str | None,
    force: bool,
    no_plugins: bool,
    block: tuple[str, ...],
) -> None:
    """Write a commented experiment FILE (experiment.yaml) for the table --data, ready to run.

    Each purpose has its own template: prices (will a price rise), table (classes in a column), forecast (a number).
    Numeric columns become features; times, labels, separators and date formats are detected. Without --data, a table of
    synthetic prices is written next to FILE. The JSON Schema for editors is written there too.

    \b
    Exit codes: 0 written, 2 bad command line or FILE exists, 3 plugin error, 4 the table cannot be used.

    \b
    Examples:
      scalecore init
      scalecore init experiment.yaml --data prices.csv
      scalecore init demand.yaml --data demand.parquet --purpose forecast --label demand
    """
    from scalecore.builtin.detect_columns import detect_columns
    from scalecore.plugins.registry import load_registry

    if "=" in file.name:
        raise click.UsageError(f"FILE is {file}, but init accepts no KEY=VALUE; edit the written file instead")
    if label is not None and purpose == "prices":
        raise click.UsageError("--label requires --purpose table or forecast; labels of prices are computed")
    if (file.exists() or file.is_symlink()) and not force:
        raise ExperimentError(f"{file} already exists; choose another name, or overwrite it with --force")
    if not file.parent.is_dir():
        raise ExperimentError(f"{file.parent}: there is no such folder")
    if data is not None and not data.exists():
        raise ExperimentError(f"{data}: there is no such file")
    registry = load_registry(no_plugins=no_plugins, block=block)
    table = data or file.parent / EXAMPLE_DATA
    makes_example = not table.exists()
    try:
        if makes_example:
            write_example_data(table)
        found = detect_columns(table.absolute(), label=label)
        chosen = purpose or _suggested(found, label=label)
        named = data if data is not None and data.is_absolute() else _relative(table, file.parent)
        text = _text(file, found, purpose=chosen, labelled=label is not None, path=named, registry=registry)
        _write(file, text, registry=registry)
    except (ScalecoreError, OSError) as error:
        if makes_example:
            table.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise ExperimentError(f"{error.filename or file}: {error.strerror or error}") from None
        raise
    click.echo(f"{file}: written for {chosen}, from {found.rows:,} rows of {named}")
    for name, reason in found.left_out.items():
        click.echo(f"column {name!r} skipped: {reason}")
    if makes_example:
        click.echo(f"{table}: synthetic prices (a random walk); replace them with your own data")
    click.echo(f"{file.parent / SCHEMA}: the JSON Schema for editors, named in the first line of {file.name}")
    click.echo(f"next: scalecore check {file}; scalecore plan {file}; scalecore run {file}")


def _suggested(found: DetectedColumns, *, label: str | None) -> str:
    if label is None and found.close is not None:
        return "prices"
    return "forecast" if found.task == "forecast" else "table"


def _text(file: Path, found: DetectedColumns, *, purpose: str, labelled: bool, path: Path, registry: Registry) -> str:
    by_price = found.close is not None and (purpose == "prices" or (purpose == "forecast" and not labelled))
    if purpose == "prices" and not by_price:
        raise ExperimentError(f"{path}: --purpose prices needs a column Close with positive numbers")
    columns = {} if found.close in ("Close", None) else {"columns": {"close": found.close}}
    target: dict[str, Any] = {"kind": "label", "column": found.label, "horizon": 1}
    if by_price:
        target = {"kind": "direction" if purpose == "prices" else "forward_return", "horizon": 1, **columns}
    elif purpose == "forecast":
        target["task"] = "forecast"
    features = [name for name in found.features if by_price or name != found.label]
    if not features:
        raise ExperimentError(f"{path}: no numeric column remains for features besides the label {found.label!r}")
    whole = {"path": str(path), **found.options}
    models, searches, monitors = (registry.names(kind) for kind in ("model", "search", "monitor"))
    model = "patchtst" if "patchtst" in models else "linear"
    values = {
        "file": file.name,
        "name": _flow(re.sub(r"[^A-Za-z0-9_.-]+", "-", file.stem).lstrip("-.")[:100] or "experiment"),
        "table": "\n".join(f"  {key}: {_flow(value)}" for key, value in whole.items()),
        "features": _flow(features),
        "target": _flow(target),
        "context": CONTEXT if found.rows >= MANY_ROWS else SHORT_CONTEXT,
        "models": ", ".join(models),
        "model": model,
        "searches": ", ".join(searches),
        "search": "architectural" if "architectural" in searches else "random",
        "budget": "\n  budget: 2M # of parameters" if model == "patchtst" else "",
        "monitors": ", ".join(name for name in ("memory", "thermal", "disk") if name in monitors),
    }
    values["dataset"] = _template(purpose).substitute(values).rstrip()
    return _template("common").substitute(values)


def _template(name: str) -> Template:
    return Template(files("scalecore.cli").joinpath("examples", f"{name}.yaml.txt").read_text(encoding="utf-8"))


def _write(file: Path, text: str, *, registry: Registry) -> None:
    """Check the text, then write it and the schema next to it."""
    from scalecore.api.files import write_text
    from scalecore.config.load import draft_of
    from scalecore.config.resolve import resolved_draft
    from scalecore.config.schema import experiment_schema
    from scalecore.config.source import parse

    tree = parse(text, source=str(file))
    resolved_draft(draft_of(tree, source=str(file), folder=file.absolute().parent), registry)
    write_text(file, text)
    schema = json.dumps(experiment_schema(registry), indent=2, ensure_ascii=False)
    write_text(file.parent / SCHEMA, f"{schema}\n")


def _flow(value: Any) -> str:
    """A value as YAML on one line."""
    from scalecore.config.source import dump

    text = dump(value, default_flow_style=True, width=float("inf"))
    return text.removesuffix("\n").removesuffix("\n...")


def _relative(data: Path, folder: Path) -> Path:
    """`data`, given relative to the working directory, as seen from the folder of the experiment file."""
    try:
        return data.absolute().relative_to(folder.absolute())
    except ValueError:
        return data.absolute()


def write_example_data(file: Path, *, rows: int = 2000) -> None:
    """Synthetic daily prices: a random walk with a daily standard deviation of 1 %, the same on every machine."""
    draw, day, close = random.Random(7), date(2015, 1, 1), 100.0
    lines = ["Date,Open,High,Low,Close,Volume"]
    for _ in range(rows):
        day += timedelta(days=3 if day.weekday() == 4 else 1)
        opened, close = close, close * math.exp(draw.gauss(0.0003, 0.01))
        high = max(opened, close) * (1 + abs(draw.gauss(0, 0.004)))
        low = min(opened, close) * (1 - abs(draw.gauss(0, 0.004)))
        lines.append(f"{day},{opened:.4f},{high:.4f},{low:.4f},{close:.4f},{draw.randrange(1_000_000, 9_000_000)}")
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
