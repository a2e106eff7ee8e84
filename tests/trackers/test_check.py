"""`scalecore check` on the options of the trackers, and with missing extras."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from scalecore.testing.fixtures import CliResult

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "docs" / "loggers.md", ROOT / "packages" / "scalecore-trackers" / "README.md")
PIECES = [
    text
    for page in PAGES
    for text in re.findall(r"^```yaml\n(.*?)^```$", page.read_text(), re.DOTALL | re.M)
    if "use: optuna" not in text  # another package's; tests/docs checks it with all of them installed
]

Experiment = Callable[..., Path]
Cli = Callable[..., CliResult]


@pytest.mark.parametrize("piece", PIECES)
def test_the_examples_of_the_documentation_pass_the_check(piece: str, experiment: Experiment, run_cli: Cli) -> None:
    """With all extras installed."""
    done = run_cli("check", experiment(**yaml.safe_load(piece)))
    assert (done.exit_code, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("options", "module", "extra"),
    [
        ({"use": "tensorboard"}, "tensorboard", "tensorboard"),
        ({"use": "mlflow", "uri": "http://127.0.0.1:5000"}, "mlflow", "mlflow"),
        ({"use": "mlflow"}, "sqlalchemy", "mlflow"),
        ({"use": "wandb"}, "wandb", "wandb"),
    ],
)
def test_a_missing_extra_is_reported_before_anything_runs(
    options: dict[str, str],
    module: str,
    extra: str,
    experiment: Experiment,
    run_cli: Cli,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With the place in the file and the command that installs it; `run` reports the same and creates no study."""
    monkeypatch.setitem(sys.modules, module, None)
    path = experiment(loggers=["files", options])
    for command in ("check", "plan", "run"):
        done = run_cli(command, path)
        assert done.exit_code == 3
        (line,) = done.stderr.splitlines()
        message = (
            f"loggers.1: logger '{options['use']}' needs the module '{module}', which is not installed; "
            f"`pip install 'scalecore-trackers[{extra}]'` provides it"
        )
        assert re.fullmatch(rf"(Error: )?{re.escape(str(path))}:\d+:\d+: {re.escape(message)}", line)
    assert not (path.parent / "study").exists()


@pytest.mark.parametrize(
    "uri", ["http://me:secret@host", "http://host:port", "http://", "mlruns", "sqlite:", "postgresql://host/db"]
)
def test_a_uri_that_cannot_be_used_is_refused(uri: str, experiment: Experiment, run_cli: Cli) -> None:
    """A password would be stored with the study; MLflow 3 no longer accepts a folder."""
    done = run_cli("check", experiment(loggers=[{"use": "mlflow", "uri": uri}]))
    assert done.exit_code == 2
    assert "expected `sqlite:///PATH` or a server, `http://HOST:PORT` or `https://HOST`; put a login into" in (
        done.stderr
    )
