"""`scalecore dashboard`: a study in the browser, by a logger that offers it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from scalecore.cli.common import plugin_options, study_argument


@click.command()
@study_argument
@click.option(
    "--port", default=8080, show_default=True, type=click.IntRange(0, 65535), help="Where to listen; 0 for any."
)
@plugin_options
def dashboard(study: Path, port: int, no_plugins: bool, block: tuple[str, ...]) -> None:
    """Show a STUDY in the browser, finished or running, until Ctrl-C. On this machine only.

    STUDY is its folder, or the experiment file that made it. What is shown is a copy: nothing that is done there
    changes the study.

    \b
    Examples:
      scalecore dashboard studies/quickstart
      scalecore dashboard experiment.yaml --port 0
    """
    from scalecore.api.components import LoggerRecord
    from scalecore.api.errors import PluginError
    from scalecore.api.protocols import DashboardContext
    from scalecore.plugins.registry import load_registry
    from scalecore.study.layout import find_study
    from scalecore.study.results import read_study
    from scalecore.study.stored import move_of

    folder = find_study(study)
    components = load_registry(no_plugins=no_plugins, block=block).components("logger")
    offered = [
        one.record for one in components if isinstance(one.record, LoggerRecord) and one.record.dashboard is not None
    ]
    if not offered:
        raise PluginError(
            "no installed plugin has a dashboard; `pip install 'scalecore-optuna[dashboard]'` provides one"
        )
    view = read_study(folder)
    used = {str(content["use"]).rpartition("/")[2]: content for content in reversed(view.experiment["loggers"])}
    record = next((one for one in offered if one.name in used), offered[0])
    assert record.dashboard is not None
    context = DashboardContext(folder=folder.path, read=lambda: read_study(folder), port=port, tell=click.echo)
    content = used.get(record.name)
    if content is not None:
        content = move_of(view.experiment, view.plan, folder.path).apply(content)
    record.dashboard(_options(record, content), context)


def _options(record: Any, content: Mapping[str, Any] | None) -> Any:
    """The options under which the study uses the logger, None where it does not."""
    if content is None:
        return None
    from scalecore.config.stored import texts_in
    from scalecore.config.structure import make_converter

    known = {key: value for key, value in content.items() if key != "use"}
    return make_converter(Path.cwd(), frozenset(texts_in(known))).structure(known, record.options)
