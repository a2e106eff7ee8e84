"""`scalecore verify`: check the integrity of studies."""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from pathlib import Path

import attrs
import click

from scalecore.api.errors import ExitCode
from scalecore.cli.common import study_argument, warn_removed


@click.command()
@study_argument
@click.option("--json", "as_json", is_flag=True, help="Print the checks as JSON.")
def verify(study: Path, as_json: bool) -> None:
    """Check the integrity of a STUDY: its folder, its experiment file, or a folder of studies. Changes nothing.

    Checks that each acknowledged trial is recorded once, with the value that its attempt returned, that each failure
    has a reason, that no process is left running, that the derived files match the journal, and that retrained models
    are complete. Works during a run.

    \b
    Exit codes: 0 no problems, 2 no such study, 9 problems found.

    \b
    Examples:
      scalecore verify studies/quickstart
      scalecore verify studies --json
    """
    from scalecore.api.errors import ExperimentError
    from scalecore.builtin.derived import verify_derived
    from scalecore.store.kept_model import verify_model
    from scalecore.store.verify import verify_study
    from scalecore.views.read_study import find_studies, read_study

    found, folders = {}, find_studies(study)
    warn_removed(folders)
    for folder in folders:
        checks = verify_study(folder)
        if not any(check.subject == "journal" and check.level == "wrong" for check in checks):
            # A run that ended before it wrote its plan has no derived files.
            with suppress(ExperimentError):
                checks += verify_derived(read_study(folder))
        found[str(folder.path)] = checks
        for retraining in folder.journals_of_retrainings():
            found[str(retraining.path)] = verify_study(retraining)
        for model in folder.models():
            found[str(model)] = [*found.get(str(model), []), *verify_model(model)]
    if as_json:
        plain = {path: [attrs.asdict(check) for check in checks] for path, checks in found.items()}
        click.echo(json.dumps(plain, indent=2))
    else:
        for path, checks in found.items():
            click.echo(f"{path}:")
            for check in checks:
                click.echo(f"  {check.level:5}  {check.subject}: {check.message}")
    if any(check.level == "wrong" for checks in found.values() for check in checks):
        sys.exit(ExitCode.UNSOUND)
