"""Output escapes characters that it cannot show; no encoding makes a command fail or silences a run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from scalecore.testing.fakes import EXPERIMENT, write_walk

C_LOCALE = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
NAMES = "pr\u00fcf \u682a"
ESCAPED = "pr\\xfcf \\u682a"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with folder, study and columns named in other languages."""
    folder = tmp_path / NAMES
    folder.mkdir()
    data = write_walk(folder)
    data.write_text(data.read_text().replace("Volume", "Gr\u00f6\u00dfe"), encoding="utf-8")
    content = {
        **EXPERIMENT,
        "output": "\u00e9tude",
        "dataset": {**EXPERIMENT["dataset"], "features": ["Close", "Gr\u00f6\u00dfe"]},
        "search": {**EXPERIMENT["search"], "trials": 1},
        "loggers": ["console", "files"],
    }
    (folder / "experiment.yaml").write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
    return folder


def scalecore(project: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    names = ("LC_", "LANG", "PYTHONIOENCODING", "PYTHONUTF8")
    cleared = {name: value for name, value in os.environ.items() if not name.startswith(names)}
    command = [sys.executable, "-m", "scalecore", *arguments]
    return subprocess.run(command, cwd=project, env={**cleared, **environment}, capture_output=True, check=False)


@pytest.mark.parametrize(
    ("environment", "encoding", "shown"),
    [
        ({"PYTHONIOENCODING": "ascii"}, "ascii", ESCAPED),
        ({"PYTHONIOENCODING": "cp1252"}, "cp1252", "pr\u00fcf \\u682a"),
        (C_LOCALE, "ascii", ESCAPED),
    ],
    ids=["ascii", "cp1252", "C"],
)
def test_a_character_that_an_output_lacks_is_escaped(
    environment: dict[str, str], encoding: str, shown: str, project: Path
) -> None:
    """In the requested encoding, on standard output and standard error."""
    done = scalecore(project, "plan", "experiment.yaml", **environment)
    assert done.returncode == 0, done.stderr
    assert f"/{shown}" in done.stdout.decode(encoding)
    done = scalecore(project, "status", "\u00e9tude", **environment)
    assert done.returncode == 2
    assert f"/{shown}/" in done.stderr.decode(encoding)


@pytest.mark.parametrize("environment", [{"PYTHONIOENCODING": "ascii"}, C_LOCALE], ids=["ascii", "C"])
def test_a_run_prints_in_any_encoding(environment: dict[str, str], project: Path) -> None:
    """No logger fails, and every file of the study has the real names."""
    done = scalecore(project, "run", "experiment.yaml", **environment)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode("ascii").splitlines()[-1] == f"results: {project.parent}/{ESCAPED}/\\xe9tude"
    status = json.loads(scalecore(project, "status", "\u00e9tude", "--json").stdout)
    assert (status["state"], status["degraded"]) == ("completed", [])
    assert status["folder"] == str(project / "\u00e9tude")
    stored = yaml.safe_load((project / "\u00e9tude/experiment.yaml").read_text(encoding="utf-8"))
    assert stored["dataset"]["features"] == ["Close", "Gr\u00f6\u00dfe"]


def test_a_console_that_fails_is_reported_on_standard_error(project: Path) -> None:
    """The study continues, but the failure is reported: here the reader of the output is gone."""
    command = [sys.executable, "-m", "scalecore", "run", "experiment.yaml"]
    process = subprocess.Popen(command, cwd=project, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    errors = process.stderr.read().decode().splitlines()
    process.stderr.close()
    process.wait()
    text = "logger 'console' raised BrokenPipeError: [Errno 32] Broken pipe; it is switched off, the study continues"
    assert errors[0] == f"warning: {text}"
    assert json.loads(scalecore(project, "status", "\u00e9tude", "--json").stdout)["degraded"] == [text]


@pytest.mark.parametrize("arguments", [["plan", "experiment.yaml"], ["--help"], ["plan", "--help"]])
def test_an_output_on_a_full_disk_ends_a_command_with_its_reason(project: Path, arguments: list[str]) -> None:
    """On standard error, without a traceback."""
    command = [sys.executable, "-m", "scalecore", *arguments]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(command, cwd=project, stdout=full, stderr=subprocess.PIPE, check=False)
    assert (done.returncode, done.stderr.decode().splitlines()[-1]) == (6, "output: No space left on device")
    assert b"Traceback" not in done.stderr
