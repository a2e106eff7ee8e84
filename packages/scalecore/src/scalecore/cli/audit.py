"""`scalecore audit`: scrutiny of results that scalecore did not produce."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from scalecore.cli.common import plugin_options
from scalecore.cli.completing import component_names
from scalecore.errors import ExperimentError

if TYPE_CHECKING:
    from scalecore.study.audit import Count

LARGEST = 10**9
"""What is more is no dimension of an architecture."""


@click.command()
@click.argument("arguments", metavar="PATH... [KEY=VALUE]...", nargs=-1, required=True, type=click.UNPROCESSED)
@click.option(
    "--model",
    metavar="NAME",
    help="The model family that counts the parameters; KEY=VALUE sets its options.",
    shell_complete=component_names("model"),
)
@click.option("--context", type=click.IntRange(min=1), default=60, show_default=True, help="Rows of a window.")
@click.option("--features", type=click.IntRange(min=1), default=25, show_default=True, help="Features of a row.")
@click.option("--outputs", type=click.IntRange(min=1), default=1, show_default=True, help="Outputs of the model.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
@plugin_options
def audit(
    arguments: tuple[str, ...],
    model: str | None,
    context: int,
    features: int,
    outputs: int,
    as_json: bool,
    no_plugins: bool,
    block: tuple[str, ...],
) -> None:
    """Look for what is wrong with results that scalecore did not produce.

    PATH is a JSON file with trials, or a folder of such files. With --model the parameters of every architecture are
    counted, and compared with what is stated and with labels such as 200M. Nothing is written.

    \b
    Examples:
      scalecore audit old/all_trials.json
      scalecore audit old/all_trials.json --model patchtst patch_len=10 --features 25
    """
    from scalecore.cli.analyze import split_arguments
    from scalecore.files import plain
    from scalecore.study.audit import audit as look
    from scalecore.study.audit_text import audit_lines
    from scalecore.study.old_results import read_old_results

    paths, overrides = split_arguments(arguments)
    if not paths:
        raise ExperimentError("no results are named: scalecore audit PATH... [KEY=VALUE]...")
    if overrides and model is None:
        raise ExperimentError(f"{overrides[0]}: options of a model, but no --model NAME")
    for path in paths:
        if path.suffix == ".jsonl" or (path / "journal.jsonl").exists():
            raise ExperimentError(f"{path}: a study of scalecore has its own checks: scalecore analyze results {path}")
    count = counted = None
    shape = {"context": context, "features": features, "outputs": outputs}
    if model is not None:
        counted = f"by {model} for --context {context} --features {features} --outputs {outputs}"
        count = _counter(model, overrides, shape=shape, no_plugins=no_plugins, block=block)
    found = look(read_old_results(paths), count=count)
    if as_json:
        content = {"records": found.records, "files": found.files, "states": found.states}
        content |= {"counted": None if model is None else {"model": model, **shape}}
        content |= {"findings": [one.row() for one in found.findings]}
        click.echo(json.dumps(plain(content), indent=2, allow_nan=False, ensure_ascii=False))
    else:
        click.echo("\n".join(audit_lines(found, counted=counted)))


def _counter(
    name: str, overrides: list[str], *, shape: Mapping[str, int], no_plugins: bool, block: tuple[str, ...]
) -> Count:
    """What counts the parameters of a record's values; None for values that are no whole architecture."""
    from scalecore.config.load import ResolvedComponent
    from scalecore.config.standalone import standalone_options
    from scalecore.plugins.registry import load_registry
    from scalecore.space import DataShape
    from scalecore.study.components import create

    found = load_registry(no_plugins=no_plugins, block=block).get("model", name)
    options: Any = standalone_options(found.record.options, overrides)
    component = ResolvedComponent(record=found.record, options=options, provider=found.provider, version=found.version)
    family = create("model", component)
    data = DataShape(**shape)
    dimensions = tuple(family.architecture_space(data).dimensions)

    def count(values: Mapping[str, Any]) -> int | None:
        whole = {key: values.get(key) for key in dimensions}
        if not all(_is_size(value) for value in whole.values()):
            return None
        number: int = family.num_parameters({key: int(value or 0) for key, value in whole.items()}, data)
        return number

    return count


def _is_size(value: object) -> bool:
    """Whether a value can be a dimension of an architecture: whole, positive, and no number that stands for another."""
    return isinstance(value, int | float) and 0 < value <= LARGEST and value == int(value)
