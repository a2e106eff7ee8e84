"""`scalecore check`: is the experiment file right, and are its components there? Reads no data and builds nothing."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from scalecore.cli.common import experiment_arguments, plugin_options

if TYPE_CHECKING:
    from scalecore.config.load import Resolved, ResolvedComponent

__all__ = ["check"]


@click.command(short_help="Check an experiment file and its components.")
@experiment_arguments
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON, problems with their positions.")
@plugin_options
@click.pass_context
def check(
    ctx: click.Context,
    file: str,
    overrides: tuple[str, ...],
    *,
    as_json: bool,
    no_plugins: bool,
    block: tuple[str, ...],
) -> None:
    """Check the experiment FILE, with values replaced by KEY=VALUE such as search.trials=5.

    All problems are listed with their positions. Data is not read; `scalecore plan` does that.
    """
    from scalecore.config.campaign import load_campaign
    from scalecore.config.messages import ComponentsError, ExperimentFileError
    from scalecore.errors import ScalecoreError
    from scalecore.plugins.registry import load_registry

    try:
        registry = load_registry(no_plugins=no_plugins, block=block)
        found = load_campaign(file, overrides=overrides, registry=registry)
    except ScalecoreError as error:
        if not as_json:
            raise
        problems = [{"message": str(error)}]
        if isinstance(error, ExperimentFileError | ComponentsError):
            problems = [one.as_json() for one in error.problems]
        click.echo(json.dumps({"file": file, "ok": False, "problems": problems}, indent=2))
        ctx.exit(int(error.exit_code))
    studies = [] if isinstance(found, tuple) else [study.label for study in found.studies]
    resolved = found[1] if isinstance(found, tuple) else found.studies[0].resolved
    if as_json:
        components = {role: [_as_json(one) for one in ones] for role, ones in _roles(resolved).items()}
        click.echo(json.dumps({"file": file, "ok": True, "studies": studies, "components": components}, indent=2))
        return
    click.echo(f"{file}: ok" + (f", {len(studies)} studies: {', '.join(studies)}" if studies else ""))
    for role, ones in _roles(resolved).items():
        click.echo(f"  {role:<9} {', '.join(f'{one.name} ({one.provider} {one.version})' for one in ones) or 'none'}")


def _roles(resolved: Resolved) -> dict[str, tuple[ResolvedComponent, ...]]:
    return {
        "dataset": (resolved.dataset,),
        "model": (resolved.model,),
        "search": (resolved.search,),
        "execution": (resolved.executor,),
        "monitors": resolved.monitors,
        "loggers": resolved.loggers,
        "analyses": resolved.analyses,
    }


def _as_json(component: ResolvedComponent) -> dict[str, Any]:
    return {"use": component.name, "provider": component.provider, "version": component.version}
