"""`scalecore export`: write a stored study again with a logger that supports it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import click

from scalecore.cli.common import named_component, plugin_options
from scalecore.cli.component_arguments import describe, flags_of, list_components, split_arguments, with_plugin_files

if TYPE_CHECKING:
    from scalecore.api.trials import StudyView
    from scalecore.plugins.registry import Registered, Registry


@click.command(context_settings={"ignore_unknown_options": True}, add_help_option=False)
@click.argument("target", required=False)
@click.argument("arguments", metavar="[STUDY]... [KEY=VALUE]...", nargs=-1, type=click.Path())
@click.option("-h", "--help", "show_help", is_flag=True, help="Show this message and the options of TARGET.")
@plugin_options
@click.pass_context
def export(
    context: click.Context,
    target: str | None,
    arguments: tuple[str, ...],
    show_help: bool,
    no_plugins: bool,
    block: tuple[str, ...],
) -> None:
    """Export all finished trials of a STUDY to the logger TARGET. Repeating the command writes no trial twice.

    STUDY is a study's folder, its experiment file, or a folder of studies; a running study is not disturbed. KEY=VALUE
    or --key VALUE sets an option of the logger; other options are those of the study. Without TARGET, lists the
    targets.

    \b
    Examples:
      scalecore export
      scalecore export csv studies/quickstart path=results.csv
      scalecore export mlflow studies/quickstart uri=http://127.0.0.1:5000
      scalecore export wandb --help
    """
    if show_help and target is None:
        click.echo(context.get_help())
        return
    from scalecore.plugins.registry import load_registry

    registry = load_registry(no_plugins=no_plugins, block=block)
    if target is None:
        list_components(_targets(registry))
        click.echo("\nexport: scalecore export TARGET STUDY...; show the options: scalecore export TARGET --help")
        return
    component = _target(with_plugin_files(registry, "logger", target, arguments), target)
    if show_help:
        click.echo(f"{context.get_help()}\n")
        describe(component)
        return
    from scalecore.api.errors import ExperimentError
    from scalecore.views.read_study import read_studies

    paths, overrides = split_arguments(arguments, flags=flags_of(component))
    if not paths:
        raise ExperimentError(f"STUDY is missing: scalecore export {target} STUDY, a folder or experiment file")
    for study in read_studies(paths):
        for options in _options(component, study, overrides):
            _write(component, study, options)


def _targets(registry: Registry) -> list[Registered]:
    return [one for one in registry.components("logger") if getattr(one.record, "export", False)]


def _target(registry: Registry, name: str) -> Registered:
    """The logger `name`. The `PluginError` for a missing one lists the loggers that can export."""
    from scalecore.api.errors import ExperimentError, PluginError

    targets = _targets(registry)
    listed = f"the targets are {', '.join(one.use for one in targets) or 'none'}"
    try:
        found = named_component(registry, "logger", name)
    except PluginError as error:
        raise PluginError(f"{error}; {listed}") from None
    if found not in targets:
        raise ExperimentError(f"logger {name!r} cannot export a study; {listed}")
    return found


def _options(component: Registered, study: StudyView, overrides: Iterable[str]) -> Iterator[Any]:
    """The options for each use of the logger in the study, or one set if it uses none; no set twice."""
    from scalecore.api.errors import PluginError
    from scalecore.config.extras import missing_extras
    from scalecore.config.standalone import standalone_options
    from scalecore.store.kept_study import move_of

    move = move_of(study.experiment, study.plan, study.folder)
    uses = [content for content in study.experiment["loggers"] if _is(component, content["use"])]
    found: list[Any] = []
    for content in uses or [{}]:
        stored = {key: value for key, value in move.apply(content).items() if key != "use"}
        options = standalone_options(component.record.options, overrides, stored=stored)
        missing = list(missing_extras(component.kind, component.record, options))
        if missing:
            raise PluginError("; ".join(missing))
        if options not in found:
            found.append(options)
            yield options


def _is(component: Registered, use: str) -> bool:
    """Whether `use` in an experiment file names the component."""
    from scalecore.plugins.metadata import canonical_name

    distribution, _, name = use.rpartition("/")
    provider = canonical_name(component.provider)
    return name == component.name and canonical_name(distribution or provider) == provider


def _write(component: Registered, study: StudyView, options: Any) -> None:
    from scalecore.api.errors import StudyError
    from scalecore.api.logger import Logger, LoggerContext
    from scalecore.config.experiment_json import plain_value
    from scalecore.config.instantiate import make, of_plugin

    logger: Logger = make(component.kind, component, options, LoggerContext(folder=study.folder))
    with of_plugin(component.kind, component, "cannot export"):
        try:
            logger.study_started(study)
            logger.study_finished(study)
            remarks = logger.take_remarks()
        except OSError as error:
            raise StudyError(f"logger {component.name!r} cannot write {study.name}: {error}") from None
        finally:
            logger.close()
    for level, text in remarks:
        click.echo(text if level == "info" else f"{level}: {text}", err=level != "info")
    shown = ", ".join(f"{name}={value}" for name, value in plain_value(options).items() if value is not None)
    trials = f"{len(study.trials)} finished trial{'' if len(study.trials) == 1 else 's'}"
    click.echo(f"{study.name}: {trials} exported to {component.use}{f' ({shown})' if shown else ''}")
