"""`scalecore doctor`: diagnose this machine: blockers and sensor readings."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scalecore.api.errors import ExitCode
from scalecore.cli.common import plugin_file_option, plugin_options, warn_left_out

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scalecore.api.readings import Finding, Reading

BETWEEN_SAMPLES = 1.1
"""Seconds between two samples, which loads and rates require."""


@click.command()
@click.argument("file", required=False, type=click.Path())
@click.argument("overrides", metavar="[KEY=VALUE]...", nargs=-1)
@plugin_file_option
@plugin_options
@click.option("--json", "as_json", is_flag=True, help="Print findings and readings as JSON.")
def doctor(
    file: str | None, overrides: tuple[str, ...], no_plugins: bool, block: tuple[str, ...], as_json: bool
) -> None:
    """Diagnose this machine: findings and readings of monitors, memory limits, other programs.

    With an experiment FILE, runs the checks of its study: its monitors with their options, its device, its folder, and
    the space that it needs. Without FILE, checks every installed monitor with default options. Trains and writes
    nothing.

    \b
    Exit codes: 0 no blockers, 5 blockers found.

    \b
    Examples:
      scalecore doctor
      scalecore doctor experiment.yaml
    """
    from scalecore.api.files import plain
    from scalecore.plugins.registry import load_registry

    if file is None and overrides:
        raise click.UsageError("-p extends the plugins of an experiment, so it requires FILE")
    registry = load_registry(no_plugins=no_plugins, block=block)
    if file is None:
        findings, readings = _of_machine(registry)
    else:
        findings, readings = _of_file(file, overrides, registry)
    if as_json:
        click.echo(json.dumps(plain({"findings": findings, "readings": readings}), indent=2))
    else:
        for finding in findings:
            remedy = f"; {finding.remedy}" if finding.remedy else ""
            click.echo(f"{finding.level:6} {finding.subject}: {finding.message}{remedy}")
        nothing = "no monitor is installed: pip install scalecore-hwmon" if file is None else "no monitor is active"
        click.echo("\nreadings:" if readings else f"\n{nothing}")
        for reading in sorted(readings, key=lambda one: (one.quantity, one.source)):
            click.echo(f"  {reading.quantity:18} {reading.text}  [{reading.source}]")
    if any(finding.level == "refuse" for finding in findings):
        sys.exit(ExitCode.REFUSED)


def _of_machine(registry: Any) -> tuple[list[Finding], list[Reading]]:
    from scalecore.api.errors import PluginError
    from scalecore.api.monitor import MonitorContext
    from scalecore.api.readings import Finding
    from scalecore.config.fields import fields_of
    from scalecore.config.instantiate import create
    from scalecore.config.resolved import ResolvedComponent
    from scalecore.monitoring.monitors import Monitors
    from scalecore.monitoring.sampling import Watched
    from scalecore.monitoring.sleep import sleep_finding
    from scalecore.planning.preflight import device_finding, folder_findings, machine_findings

    here = Path.cwd()
    watched, left_out = [], []
    for one in registry.components("monitor"):
        try:
            if required := [option.name for option in fields_of(one.record.options) if option.required]:
                raise PluginError(f"no default for {', '.join(required)}; give an experiment file that uses it")
            component = ResolvedComponent(
                record=one.record, options=one.record.options(), provider=one.provider, version=one.version
            )
            monitor = create("monitor", component, MonitorContext(folder=here))
        except PluginError as error:
            left_out.append(Finding(level="warn", subject=one.use, message=str(error)))
            continue
        watched.append(Watched(name=one.use, monitor=monitor, quantities=one.record.quantities))
    monitors = Monitors(watched)
    machine = [*machine_findings(), device_finding("auto"), sleep_finding(keep_awake=True)]
    findings = [*machine, *folder_findings(here), *left_out]
    return [*findings, *monitors.preflight(None)], _read(monitors)


def _of_file(file: str, overrides: Sequence[str], registry: Any) -> tuple[list[Finding], list[Reading]]:
    from scalecore.config.resolve import load_resolved
    from scalecore.monitoring.sleep import sleep_finding
    from scalecore.planning.build_plan import build_plan
    from scalecore.planning.preview import state_of
    from scalecore.store.layout import StudyFolder, has_begun, output_folder

    loaded, resolved = load_resolved(file, overrides=tuple(overrides), registry=registry, begun=has_begun)
    warn_left_out((loaded, resolved))
    folder = output_folder(resolved.experiment)
    device = state_of(StudyFolder(folder)).device_needed(resolved.experiment.search.trials)
    plan, runtime = build_plan(loaded, resolved, folder=folder, device=device)
    asleep = sleep_finding(keep_awake=resolved.experiment.execution.keep_awake)
    return [*plan.findings, asleep], _read(runtime.monitors)


def _read(monitors: Any) -> list[Reading]:
    """Sample every monitor twice: loads and rates need two samples."""
    monitors.sample_now()
    if monitors.latest:
        time.sleep(BETWEEN_SAMPLES)
        monitors.sample_now()
    return list(monitors.latest)
