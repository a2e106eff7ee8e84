"""`scalecore check`: check an experiment file and its components. Reads no data and trains nothing."""

from __future__ import annotations

import gc
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from scalecore.cli.common import experiment_arguments, plugin_options, warn_left_out

if TYPE_CHECKING:
    from scalecore.campaign.load import Campaign
    from scalecore.config.load import LoadedExperiment
    from scalecore.config.resolved import Resolved, ResolvedComponent


@click.command(short_help="Check an experiment file and its components.")
@experiment_arguments
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "github"]),
    default="text",
    show_default=True,
    help="Format of problems: `file:line:column: message`, JSON, or annotations of GitHub workflows.",
)
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.option("--labels", is_flag=True, help="Print only the labels of a campaign's studies, one per line, for --only.")
@plugin_options
@click.pass_context
def check(
    ctx: click.Context,
    file: str,
    overrides: tuple[str, ...],
    *,
    form: str,
    as_json: bool,
    labels: bool,
    no_plugins: bool,
    block: tuple[str, ...],
) -> None:
    """Check an experiment FILE and its components. KEY=VALUE overrides a key of FILE: search.trials=5.

    Lists all problems with their positions, in the format of compilers that editors recognise. For a campaign, lists
    the problems of all studies. Data is not read; `scalecore plan` reads it.

    \b
    Exit codes: 0 no problems, 2 problems in the file, 3 a plugin is missing or broken.

    \b
    Examples:
      scalecore check experiment.yaml
      scalecore check experiment.yaml search.trials=5 --json
      scalecore check experiment.yaml --format github
      scalecore check campaign.yaml --labels
    """
    if gc.isenabled():  # nearly all objects live until the end; garbage collection would take 5 %
        gc.disable()
        ctx.call_on_close(gc.enable)
    from scalecore.api.errors import ExperimentError, ScalecoreError
    from scalecore.campaign.load import load_campaign
    from scalecore.config.messages import ComponentsError, ExperimentFileError
    from scalecore.planning.check_names import refuse_missing_trainer
    from scalecore.plugins.registry import load_registry
    from scalecore.store.layout import has_begun

    form = "json" if as_json else form
    try:
        registry = load_registry(no_plugins=no_plugins, block=block)
        found = load_campaign(file, overrides=overrides, registry=registry, begun=has_begun)
        _check_names(found)
        for one in [found] if isinstance(found, tuple) else [(each.loaded, each.resolved) for each in found.studies]:
            _check_level(*one)
            refuse_missing_trainer(*one)
    except ScalecoreError as error:
        if form == "text":
            raise
        problems: list[dict[str, Any]] = [{"message": str(error)}]
        if isinstance(error, ExperimentFileError | ComponentsError):
            problems = [one.as_json() for one in error.problems]
        if form == "json":
            click.echo(json.dumps({"file": file, "ok": False, "problems": problems}, indent=2))
        else:
            click.echo("\n".join(_annotation(one, file=file) for one in problems))
        ctx.exit(int(error.exit_code))
    studies = [] if isinstance(found, tuple) else [study.label for study in found.studies]
    resolved = found[1] if isinstance(found, tuple) else found.studies[0].resolved
    warn_left_out(found)
    if labels:
        if isinstance(found, tuple):
            raise ExperimentError("--labels lists the studies of a campaign, but this file has no `sweep`")
        click.echo("\n".join(studies))
        return
    if form == "json":
        components = {role: [_as_json(one) for one in ones] for role, ones in _roles(resolved).items()}
        click.echo(json.dumps({"file": file, "ok": True, "studies": studies, "components": components}, indent=2))
        return
    click.echo(f"{file}: ok" + (f", {len(studies)} studies: {', '.join(studies)}" if studies else ""))
    for role, ones in _roles(resolved).items():
        click.echo(f"  {role:<9} {', '.join(f'{one.name} ({one.provider} {one.version})' for one in ones) or 'none'}")


def _check_level(loaded: LoadedExperiment, resolved: Resolved) -> None:
    """Refuse a model that loses the level if dataset or loss already show that the task is a forecast (G57)."""
    task_of = getattr(resolved.dataset.record, "task", None)
    task = None if task_of is None else task_of(resolved.dataset.options)
    if (task or resolved.training.task()) != "forecast":
        return
    from scalecore.config.instantiate import create
    from scalecore.planning.conventions import begun_plan, refuse_lost_level
    from scalecore.store.layout import output_folder

    begun = begun_plan(output_folder(resolved.experiment))
    if begun is None or not begun.data.of_version_0_1:
        refuse_lost_level(loaded, resolved, create("model", resolved.model), task="forecast")


def _check_names(found: Campaign | tuple[LoadedExperiment, Resolved]) -> None:
    """Raise the problems with names in the file: unused hyper-parameters, conditions that match no shape."""
    from scalecore.config.messages import raise_problems
    from scalecore.planning.check_names import name_problems

    studies = [found] if isinstance(found, tuple) else [(one.loaded, one.resolved) for one in found.studies]
    if problems := [problem for study in studies for problem in name_problems(*study)]:
        raise_problems(problems)


def _annotation(problem: Mapping[str, Any], *, file: str) -> str:
    """A problem as a GitHub workflow command: an annotation of the line."""
    override = problem.get("override")
    places = {"file": None if override else problem.get("file") or file}
    places |= {"line": problem.get("line"), "col": problem.get("column")}
    places["title"] = f"scalecore check {override}" if override else problem.get("key") or "scalecore check"
    shown = ",".join(f"{name}={_escaped(value, ',:')}" for name, value in places.items() if value)
    return f"::error {shown}::{_escaped(problem['message'])}"


def _escaped(value: object, also: str = "") -> str:
    """Escape `%` and line ends for GitHub's runner, and in properties also `,` and `:`."""
    return "".join(f"%{ord(one):02X}" if one in f"%\r\n{also}" else one for one in str(value))


def _roles(resolved: Resolved) -> dict[str, tuple[ResolvedComponent, ...]]:
    return {
        "dataset": (resolved.dataset,),
        "model": (resolved.model,),
        "search": (resolved.search,),
        "training": (resolved.trainer,),
        "execution": (resolved.executor,),
        "monitors": resolved.monitors,
        "loggers": resolved.loggers,
        "analyses": resolved.analyses,
    }


def _as_json(component: ResolvedComponent) -> dict[str, Any]:
    return {"use": component.name, "provider": component.provider, "version": component.version}
