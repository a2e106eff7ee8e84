"""What the guards cost, and whether a trial that eats memory is stopped in time.

    python benchmarks/guards.py                 # 20 seconds a measurement, 20 stops and more
    python benchmarks/guards.py --short

Cost: processor time of the driver's process while it watches a real process as a trial, with all monitors of
scalecore-hwmon and without any, in turn; and of the look that an attempt takes before each step. Processor time, since
the clock of a busy machine tells about its neighbours. A share of one core is the most that a study can lose by it.

Stops: studies whose trial allocates shared memory as fast as it can (about 2 GB a second), which no limit of a process
counts, so that the monitor must see it. Each attempt must end as `out_of_memory` with its peak below the limit, and the
study must complete with the right states.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import report
import yaml

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "integration"))

LIMIT = 2.4e9
MONITORS = ("memory", "thermal", "disk", "cpu")


@contextmanager
def trial() -> Iterator[int]:
    """A process with 300 MB and two children, as a trial with data loaders has them."""
    code = (
        "import subprocess, sys, time\nkept = bytearray(b'x' * 300_000_000)\n"
        "quiet = dict(stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)\n"
        "children = [subprocess.Popen([sys.executable, '-c', 'input()'], **quiet) for _ in range(2)]\n"
        "print('up', flush=True)\ninput()\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    try:
        yield process.pid
    finally:
        process.kill()
        process.communicate()


def watched(names: tuple[str, ...], *, seconds: float, pid: int, folder: Path) -> float:
    """Share of one core that the driver's loop takes with these monitors."""
    from scalecore.api.monitor import MonitorContext
    from scalecore.monitoring.monitors import HardwareSummary, Monitors
    from scalecore.monitoring.sampling import Watched
    from scalecore.plugins.registry import load_registry
    from scalecore.store.layout import StudyFolder

    registry = load_registry()
    ones = [registry.get("monitor", name) for name in names]
    monitors = Monitors(
        [
            Watched(
                name=one.name,
                monitor=one.record.factory(one.record.options(), MonitorContext(folder=folder)),
                quantities=one.record.quantities,
            )
            for one in ones
        ]
    )
    summary = HardwareSummary()
    monitors.start()
    monitors.tick({0: pid}, {0: summary})
    time.sleep(0.5)
    began, spent = time.monotonic(), time.process_time()
    while time.monotonic() - began < seconds:
        monitors.tick({0: pid}, {0: summary})
        monitors.write(StudyFolder(folder))
        time.sleep(0.05)
    share = (time.process_time() - spent) / (time.monotonic() - began)
    monitors.close()
    return share


def step_microseconds(folder: Path, *, steps: int) -> float:
    """What an attempt spends before each step: a look at its control file, now and then a line of progress."""
    from scalecore.execution.attempt_control import AttemptMonitor
    from scalecore.execution.folder import AttemptFolder

    monitor = AttemptMonitor(AttemptFolder(folder))
    spent = time.process_time()
    for step in range(steps):
        monitor.step(epoch=1, step=step, phase="train")
    return 1e6 * (time.process_time() - spent) / steps


def stops(folder: Path, *, name: str) -> list[dict[str, Any]]:
    """The attempts of a study with one well-behaved and one greedy trial. Raises where its states are not right."""
    import numpy as np
    from greedy import install

    days = np.datetime64("2015-01-01") + np.arange(900)
    close = np.exp(np.cumsum(np.random.default_rng(3).normal(0, 0.01, 900)))
    (folder / "walk.csv").write_text(
        "Date,Close\n" + "\n".join(f"{d},{c}" for d, c in zip(days, close, strict=True)) + "\n"
    )
    experiment = {
        "name": name,
        "dataset": {
            "use": "parquet",
            "path": "walk.csv",
            "features": ["Close"],
            "target": {"kind": "direction"},
            "context": 12,
        },
        "model": "greedy",
        "search": {"use": "random", "trials": 2, "exclude": [f"appetite == {n}" for n in (1, 3, 4, 5)]},
        "training": {"effective_batch": 128, "threads": 1, "hyperparameters": {"epochs": 2}},
        "execution": {"retry": {"out_of_memory": 20}},
        "monitors": [{"use": "memory", "min_free_gb": 0, "limit_gb": LIMIT / 1e9, "reserve_gb": 0}],
        "loggers": [],
    }
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(experiment))
    path = os.pathsep.join([str(install(folder / "site")), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-m", "scalecore", "run", f"{name}.yaml", "-q"]
    subprocess.run(command, cwd=folder, env={**os.environ, "PYTHONPATH": path}, check=True)
    lines = (folder / "studies" / name / "journal.jsonl").read_text().splitlines()
    records = [event["record"] for event in map(json.loads, lines) if event["event"] == "trial_finished"]
    states = {record["architecture"]["values"]["appetite"]: record["state"] for record in records}
    if states != {0: "completed", 2: "out_of_memory"}:
        raise SystemExit(f"study {name} ended with {states}")
    (greedy,) = [record for record in records if record["architecture"]["values"]["appetite"] == 2]
    return list(greedy["attempts"])


def main() -> None:
    """Measure both, print one table; fails where an attempt was not stopped in time."""
    options = report.arguments(__doc__).parse_args()
    seconds, rounds, wanted = (2.0, 2, 5) if options.short else (20.0, 5, 20)
    with tempfile.TemporaryDirectory() as name, trial() as pid:
        folder = Path(name)
        shares: dict[str, list[float]] = {"no monitor": [], "all monitors": []}
        for _ in range(rounds):
            shares["no monitor"].append(watched((), seconds=seconds, pid=pid, folder=folder))
            shares["all monitors"].append(watched(MONITORS, seconds=seconds, pid=pid, folder=folder))
        step = step_microseconds(folder, steps=2_000 if options.short else 50_000)
    cost = statistics.median(a - b for a, b in zip(shares["all monitors"], shares["no monitor"], strict=True))
    attempts: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        while len(attempts) < wanted:
            attempts += stops(Path(name), name=f"greedy-{len(attempts)}")
    by_monitor = [one for one in attempts if one["class"] == "out_of_memory"]
    below = [one for one in by_monitor if one["peak_memory"] < LIMIT]
    peaks = [one["peak_memory"] / 1e9 for one in by_monitor]
    rows = [
        {"what": f"driver with {how}, share of a core", "value": f"{statistics.median(found):.2%}"}
        for how, found in shares.items()
    ]
    rows += [
        {"what": f"guards of the driver ({', '.join(MONITORS)})", "value": f"{cost:.2%}"},
        {"what": "an attempt's look before each step", "value": f"{step:.1f} microseconds"},
        {"what": "attempts that ate memory", "value": len(attempts)},
        {"what": f"stopped below the limit of {LIMIT / 1e9:.1f} GB", "value": f"{len(below)} of {len(attempts)}"},
        {"what": "peak, median and largest, GB", "value": f"{statistics.median(peaks):.2f} {max(peaks):.2f}"},
    ]
    notes = ["Stops: trials may use 85 % of the limit; what is above is what they reached before they were dead."]
    report.show("Guards: what they cost, and whether they act in time", rows, notes=notes, path=options.json)
    if len(below) < len(attempts):
        raise SystemExit("an attempt was not stopped below its limit")


if __name__ == "__main__":
    main()
