"""What a trivial trial costs a whole study: CPU of all processes of a real `scalecore run`, beside Optuna and Ray Tune.

Each study runs in separate processes, with few trials and with many, in interleaved rounds: the difference gives
the CPU for one trial, the rest is the start-up. All processes count, daemons too, by a control group where one can be
made (cgroup v2, as root or in a delegated group), else by what their parents waited for: Ray's daemons do not wait for
their workers, so that its figures are too small then, and a note says so.

scalecore's trial is a training in a separate process: one epoch of a tiny model on some 500 windows, evaluation,
metrics with intervals, weights, records on the disk. The trial of the others is one multiplication: in the same process
for Optuna, in an actor for Ray Tune, in a new process each or in actors that are used again. All draw at random.

Ray Tune needs an environment apart, made by

    python -m venv ray-venv && ray-venv/bin/pip install "ray[tune]"

and is measured with `--ray ray-venv/bin/python`.
"""

from __future__ import annotations

import ctypes
import itertools
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import report
import yaml

from scalecore.testing.fakes import EXPERIMENT, write_walk

GOAL = 0.2
"""Of the CPU of Ray Tune's trial."""
PATCHTST = {
    "use": "patchtst",
    "patch_len": 4,
    "stride": 4,
    "d_model": [8, 16, 24, 32],
    "n_layers": [1, 2, 3, 4, 5, 6],
    "n_heads": [1, 2, 4],
}
STUDIES: dict[str, dict[str, Any]] = {
    "scalecore, one shape": {"model": {"use": "linear"}},
    "scalecore, new shapes": {"model": PATCHTST},
}
PEERS = {
    "Optuna, in memory": "optuna-memory",
    "Optuna, journal file": "optuna-journal",
    "Optuna, SQLite": "optuna-sqlite",
    "Ray Tune": "ray",
    "Ray Tune, actors reused": "ray-reused",
}
PARTS = ("driver", "attempts", "fork server", "tracing")

# Loaded by every interpreter of a study: what a process has used is known to itself at its end, and of an attempt to
# the server that waits for it.
NOTES = """
import atexit, json, os, sys, time

def note(part, seconds):
    with open(os.environ["OVERHEAD_NOTES"], "a") as file:
        file.write(json.dumps({"part": part, "seconds": seconds}) + "\\n")

if "scalecore.execution.local.forkserver" in sys.orig_argv:
    attempts, end, wait = set(), os._exit, os.wait4
    me = os.getpid()

    def ended(code):
        if os.getpid() == me:
            note("fork server", time.process_time())
        end(code)

    def waited(pid, options):
        found = wait(pid, options)
        if found[0]:
            note("attempts", found[2].ru_utime + found[2].ru_stime)
        return found

    os._exit, os.wait4 = ended, waited
elif "scalecore" in sys.orig_argv:
    atexit.register(lambda: note("driver", time.process_time()))
"""


@contextmanager
def group() -> Iterator[Path | None]:
    """A control group for the processes of one study; None where none can be made."""
    try:
        mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
        root = next(Path(one[1]) for one in mounts if one[2] == "cgroup2")
        (own,) = [line[3:] for line in Path("/proc/self/cgroup").read_text().splitlines() if line.startswith("0::")]
        made = root / own.lstrip("/") / f"overhead-{os.getpid()}-{time.monotonic_ns()}"
        made.mkdir()
    except (OSError, StopIteration, ValueError):
        yield None
        return
    try:
        yield made
    finally:
        for _ in range(100):  # the last process of it may just be ending
            if not (made / "cgroup.procs").read_text():
                break
            time.sleep(0.05)
        made.rmdir()


def cpu(command: list[str], *, env: Mapping[str, str], cwd: Path) -> tuple[float, float]:
    """CPU seconds of a command with all its processes, and of those that it left behind to this one."""
    with group() as made, (cwd / "output.txt").open("a+b") as output:
        join = None if made is None else lambda: (made / "cgroup.procs").write_text(str(os.getpid()))
        process = subprocess.Popen(command, cwd=cwd, env=env, stdout=output, stderr=output, preexec_fn=join)
        own, left, code = 0.0, 0.0, 0
        while True:
            try:
                pid, status, usage = os.wait4(-1, 0)
            except ChildProcessError:
                break
            if pid == process.pid:
                own, code = usage.ru_utime + usage.ru_stime, os.waitstatus_to_exitcode(status)
            else:
                left += usage.ru_utime + usage.ru_stime
        if code:
            output.seek(0)
            raise SystemExit(f"{command} ended with {code}:\n{output.read().decode()[-2000:]}")
        total = own + left
        if made is not None:
            for pid in (made / "cgroup.procs").read_text().split():  # a daemon that did not end with its study
                os.kill(int(pid), signal.SIGKILL)
            counted = (made / "cpu.stat").read_text().split()
            total = int(counted[counted.index("usage_usec") + 1]) / 1e6
        return total, left


def run_scalecore(name: str, trials: int, folder: Path) -> Counter[str]:
    """CPU seconds of the parts of a study of so many trials."""
    write_walk(folder, rows=900)
    experiment = {
        **EXPERIMENT,
        "name": "overhead",
        "search": {"use": "random", "trials": trials, "space": {"learning_rate": {"log_uniform": [1e-4, 1e-2]}}},
        "training": {"threads": 1, "hyperparameters": {"epochs": 1, "warmup_steps": 1}},
        "loggers": ["console", "files", "csv"],
        **STUDIES[name],
    }
    (folder / "experiment.yaml").write_text(yaml.safe_dump(experiment))
    (folder / "sitecustomize.py").write_text(NOTES)
    notes = folder / "notes.jsonl"
    path = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    env = {**os.environ, "PYTHONPATH": path, "OVERHEAD_NOTES": str(notes)}
    total, left = cpu([sys.executable, "-m", "scalecore", "run", "experiment.yaml"], env=env, cwd=folder)
    found: Counter[str] = Counter({"tracing": left})  # the tracer is killed, and its parent has ended before
    for line in map(json.loads, notes.read_text().splitlines()):
        found[line["part"]] += line["seconds"]
    found["total"] = total
    return found


def run_peer(name: str, trials: int, folder: Path, *, python: str) -> Counter[str]:
    """CPU seconds of a study of another library."""
    peers = Path(__file__).with_name("overhead_peers.py")
    env = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "RAY_TMPDIR": str(folder), "OMP_NUM_THREADS": "1"}
    if name.startswith("Ray"):
        env.pop("PYTHONPATH", None)
    total, _ = cpu([python, str(peers), PEERS[name], str(trials), str(folder)], env=env, cwd=folder)
    return Counter(total=total)


def main() -> None:
    """Measure all, in interleaved rounds."""
    parser = report.arguments(__doc__)
    parser.add_argument(
        "--ray",
        type=os.path.abspath,  # it is started from other folders
        metavar="PYTHON",
        help="an interpreter that has ray[tune]; without it Ray is left out",
    )
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="interleaved rounds")
    settings = parser.parse_args()
    few, many, rounds = (2, 6, 1) if settings.short else (2, 14, settings.rounds)
    # Processes whose parent has ended become children of this one, and their CPU is counted.
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
    names = [*STUDIES, *(name for name in PEERS if settings.ray or not name.startswith("Ray"))]
    found: dict[tuple[str, int], list[Counter[str]]] = {}
    for _, name in itertools.product(range(rounds), names):
        for trials in (few, many if name.startswith(("scalecore", "Ray")) else 50 * many):
            with tempfile.TemporaryDirectory() as text:
                folder = Path(text).resolve()
                if name in STUDIES:
                    one = run_scalecore(name, trials, folder)
                else:
                    one = run_peer(name, trials, folder, python=settings.ray if "Ray" in name else sys.executable)
            found.setdefault((name, trials), []).append(one)
    rows = [row(name, {n: runs for (other, n), runs in found.items() if other == name}) for name in names]
    ray = next((one["trial ms"] for one in rows if one["study"] == "Ray Tune"), None)
    for one in rows:
        one["of Ray's"] = None if ray is None else round(one["trial ms"] / ray, 4)
    with group() as made:
        counted = (
            "all processes by a control group" if made is not None else "processes by what their parents waited for"
        )
    notes = [f"Goal: a trial below {GOAL:g} of Ray Tune's. Counted: {counted}."]
    if made is None:
        notes.append("Without a control group Ray's workers are missing from its figures, which are too small.")
    notes.append(
        "Parts of a trial: driver, attempts, fork server and tracing; what is missing from their sum are other helpers "
        "and the ends of processes."
    )
    if ray is None:
        notes.append('Ray Tune was NOT measured: give --ray PYTHON, an interpreter with "ray[tune]" (see --help).')
    else:
        notes.append(f"ray {_version_of_ray(settings.ray)}")
    title = f"CPU of a trivial trial and of the start-up, median of {rounds} interleaved rounds"
    report.show(title, rows, notes=notes, path=settings.json)


def row(name: str, runs: Mapping[int, list[Counter[str]]]) -> dict[str, Any]:
    """Medians of what the rounds give for a trial, and for what is paid once."""
    few, many = sorted(runs)

    def of(part: str) -> tuple[float, float]:
        pairs = zip(runs[few], runs[many], strict=True)
        slopes = [(large[part] - small[part]) / (many - few) for small, large in pairs]
        slope = statistics.median(slopes)
        return slope, statistics.median(small[part] for small in runs[few]) - few * slope

    trial, start = of("total")
    parts = {part: round(1e3 * of(part)[0], 2) if "scalecore" in name else None for part in PARTS}
    starts = {f"start {part} s": round(of(part)[1], 2) if "scalecore" in name else None for part in PARTS}
    return {"study": name, "trial ms": round(1e3 * trial, 2), **parts, "start s": round(start, 2), **starts}


def _version_of_ray(python: str) -> str:
    command = [python, "-c", "from importlib.metadata import version; print(version('ray'))"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    main()
