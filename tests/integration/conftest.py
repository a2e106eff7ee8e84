"""Studies in a temporary folder, run through the command line in a separate process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import pytest
import yaml
from attrs import define, field

from scalecore.api.files import read_json
from scalecore.api.trials import FIRST_RETRAINED
from scalecore.execution.process_file import is_alive

ROOT = Path(__file__).parents[2]
WAIT = 120.0

# Loaded by every interpreter of a study, see `Study.hold`. Lines are appended, and whole files are moved into place.
HOLD = """
import glob, json, os, signal, sys

FOLDER = os.path.dirname(__file__)
with open(os.path.join(FOLDER, "places.json")) as file:
    PLACES = json.load(file)

def hold(event, arguments):
    if event == "os.rename":
        path = str(arguments[1])
    elif event == "open" and arguments[1] == "a":
        path = str(arguments[0])
    else:
        return
    for number, (place, beside) in enumerate(PLACES):
        held = os.path.join(FOLDER, f"held-{number}")
        if not path.endswith(place) or os.path.exists(held):
            continue
        if all(glob.glob(os.path.join(os.path.dirname(path), name)) for name in beside):
            with open(held, "w") as file:
                file.write(str(os.getpid()))
            os.kill(os.getpid(), signal.SIGSTOP)

sys.addaudithook(hold)
"""


@define
class Study:
    """An experiment file and its study."""

    root: Path
    experiment: dict[str, Any]
    path: list[str] = field(factory=list)
    """Further entries of PYTHONPATH, for fake distributions."""

    @property
    def file(self) -> Path:
        return self.root / "experiment.yaml"

    @property
    def folder(self) -> Path:
        return self.root / "studies" / str(self.experiment["name"])

    def write(self) -> None:
        self.file.write_text(yaml.safe_dump(self.experiment, sort_keys=False))

    def command(self, name: str, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "scalecore", name, *arguments]

    @property
    def environment(self) -> dict[str, str]:
        path = os.pathsep.join([*self.path, os.environ.get("PYTHONPATH", "")])
        return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}

    def cli(self, name: str, *arguments: str, code: int | None = 0) -> subprocess.CompletedProcess[str]:
        """Run a command on the experiment file; fails for another exit code, unless `code` is None."""
        done = subprocess.run(
            self.command(name, *arguments),
            cwd=self.root,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert code in (None, done.returncode), f"{name}: exit code {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    def run(self, *arguments: str, code: int | None = 0) -> subprocess.CompletedProcess[str]:
        self.write()
        return self.cli("run", str(self.file), *arguments, code=code)

    def start(self, *arguments: str, before: Callable[[], object] | None = None) -> subprocess.Popen[str]:
        """Start `scalecore run` and return at once; `before` is called in its process first."""
        self.write()
        return subprocess.Popen(
            self.command("run", str(self.file), *arguments),
            cwd=self.root,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            preexec_fn=before,
        )

    def events(self) -> list[dict[str, Any]]:
        """The complete lines of the journal."""
        try:
            lines = (self.folder / "journal.jsonl").read_bytes().split(b"\n")[:-1]
        except FileNotFoundError:
            return []
        return [json.loads(line) for line in lines]

    def finished(self) -> dict[int, dict[str, Any]]:
        """Records of the search by trial number; fails if a trial finished twice."""
        return {number: one for number, one in self.records().items() if number < FIRST_RETRAINED}

    def retrained(self) -> list[dict[str, Any]]:
        """Records of the trials trained after the search."""
        return [one for number, one in self.records().items() if number >= FIRST_RETRAINED]

    def records(self) -> dict[int, dict[str, Any]]:
        """All records by trial number; fails if a trial finished twice."""
        records: dict[int, dict[str, Any]] = {}
        for event in self.events():
            if event["event"] == "trial_finished":
                assert event["number"] not in records, f"trial {event['number']} finished twice"
                records[event["number"]] = event["record"]
        return records

    def json(self, name: str) -> Any:
        def refuse(constant: str) -> None:
            raise AssertionError(f"{constant} in {name}")

        return json.loads((self.folder / name).read_text(), parse_constant=refuse)

    def wait_for(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + WAIT
        while not condition():
            assert time.monotonic() < deadline, f"timed out after {WAIT:.0f} s waiting for {what}"
            time.sleep(0.01)

    def hold(self, place: str, *, beside: Sequence[str] = ()) -> None:
        """Make the process that is about to write a file whose path ends with `place` stop itself once with SIGSTOP.

        It stops only when files in the same folder match all patterns of `beside`. Without this, an attempt could end
        on a busy machine before the test kills it.
        """
        folder = self.root / "hold"
        if not folder.exists():
            folder.mkdir()
            (folder / "places.json").write_text("[]")
            (folder / "sitecustomize.py").write_text(HOLD)
            self.path.append(str(folder))
        places = json.loads((folder / "places.json").read_text())
        (folder / "places.json").write_text(json.dumps([*places, [f"/{place}", list(beside)]]))

    def held(self, place: str) -> int:
        """Wait until a process has stopped at `place` and return its id."""
        folder = self.root / "hold"
        number = [one for one, _ in json.loads((folder / "places.json").read_text())].index(f"/{place}")
        told = folder / f"held-{number}"
        self.wait_for(lambda: told.exists() and told.read_text() != "", f"the writer of {place}")
        pid = int(told.read_text())
        self.wait_for(lambda: psutil.Process(pid).status() == psutil.STATUS_STOPPED, f"the stop before {place}")
        return pid

    def workers(self) -> list[int]:
        """Process ids of attempts that are alive."""
        pids = []
        for path in self.folder.glob("attempts/*/attempt_*/process.json"):
            process = read_json(path)
            if process is not None and is_alive(process["pid"], process["started"]):
                pids.append(process["pid"])
        return pids


@pytest.fixture(scope="session")
def bars(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """900 days of made-up prices, each weakly dependent on the previous day."""
    generator = np.random.default_rng(3)
    noise = generator.normal(0, 0.01, 900)
    returns = noise + 0.4 * np.concatenate([[0.0], noise[:-1]])
    close = 100 * np.exp(np.cumsum(returns))
    table = pd.DataFrame(
        {
            "Open": close * np.exp(generator.normal(0, 0.002, 900)),
            "High": close * 1.005,
            "Low": close * 0.995,
            "Close": close,
            "Volume": generator.integers(1_000, 9_000, 900).astype(float),
        },
        index=pd.bdate_range("2015-01-01", periods=900, name="Date"),
    )
    path = tmp_path_factory.mktemp("bars") / "bars.parquet"
    table.to_parquet(path)
    return path


def tiny_experiment(bars: Path) -> dict[str, Any]:
    """A study that takes seconds: PatchTST shapes of about 3,000 parameters, forced extremes, two epochs."""
    return {
        "name": "tiny",
        "seed": 5,
        "dataset": {
            "use": "parquet",
            "path": str(bars),
            "features": ["Close", "Volume"],
            "target": {"kind": "direction", "horizon": 1},
            "context": 12,
        },
        "model": {
            "use": "patchtst",
            "patch_len": 4,
            "stride": 4,
            "d_model": [8, 16],
            "n_layers": [1, 2, 4],
            "n_heads": [1, 2],
        },
        "search": {
            "use": "architectural",
            "budget": 4000,
            "tolerance": 0.6,
            "trials": 5,
            "startup_trials": 1,
            "space": {"learning_rate": {"log_uniform": [1e-3, 1e-2]}, "dropout": {"uniform": [0.1, 0.3]}},
        },
        "training": {
            "effective_batch": 64,
            "threads": 1,
            "checkpoint_every": 0.05,
            "hyperparameters": {"epochs": 2, "warmup_steps": 5},
        },
        "execution": {"stop_grace": 20.0},
        "monitors": [],
        "loggers": ["console", "files", "csv"],
    }


@pytest.fixture
def study(tmp_path: Path, bars: Path) -> Study:
    """The tiny experiment in a separate folder."""
    return Study(tmp_path, tiny_experiment(bars))


def output_of(process: subprocess.Popen[str], *, code: int = 0) -> str:
    """Wait for a started run and return its output; fails for another exit code."""
    output, _ = process.communicate(timeout=2 * WAIT)
    assert process.returncode == code, output
    return output


def kill(process: subprocess.Popen[str]) -> None:
    """Send SIGKILL and wait for the end."""
    process.send_signal(signal.SIGKILL)
    process.wait()
    if process.stdout is not None:
        process.stdout.close()
