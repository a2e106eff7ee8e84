"""Two cores: one trial on each with one thread, against one trial with two threads, and two trials with two each.

The last is what parallel workers do whose threads nobody sets. Steps of scalecore-patchtst as in step.py, eager,
float32. The clock is the wall: other programs on the machine spoil it, most of all where threads wait for each other.
"""

from __future__ import annotations

import os
import statistics
import sys
from contextlib import ExitStack
from typing import Any

from report import arguments, show
from step import BATCH, Case, Worker

SHAPES = ((64, 48, 2, 256), (128, 8, 8, 512), (512, 3, 8, 1024))
WAYS = {"1 trial x 1 thread": (1, 1), "1 x 2": (1, 2), "2 x 1": (2, 1), "2 x 2": (2, 2)}


def measure(shape: tuple[int, int, int, int], *, rounds: int, turn: float) -> dict[str, float]:
    """Windows per second of all trials together, the median over rounds; the ways take turns."""
    with ExitStack() as stack:
        workers = {
            way: [Worker("eager", Case(*shape, threads=threads), stack, wall=True) for _ in range(trials)]
            for way, (trials, threads) in WAYS.items()
        }
        found: dict[str, list[float]] = {way: [] for way in WAYS}
        for _ in range(rounds):
            for way, together in workers.items():
                for worker in together:
                    worker.begin(str(turn))
                found[way].append(sum(BATCH / worker.end()["seconds"] for worker in together))
    return {way: statistics.median(rates) for way, rates in found.items()}


def main() -> None:
    """Compare, and print."""
    options = arguments(__doc__).parse_args()
    shapes, rounds, turn = (SHAPES, 7, 1.0) if not options.short else (((16, 2, 2, 64),), 2, 0.1)
    rows: list[dict[str, Any]] = []
    for shape in shapes:
        rates = measure(shape, rounds=rounds, turn=turn)
        base = rates["1 trial x 1 thread"]
        row: dict[str, Any] = dict(zip(("d_model", "n_layers", "n_heads", "d_ff"), shape, strict=True))
        row |= {"windows/s": round(base), **{way: round(rate / base, 2) for way, rate in rates.items()}}
        row["2 x 1 over 1 x 2"] = round(rates["2 x 1"] / rates["1 x 2"], 2)
        row["2 x 1 over 2 x 2"] = round(rates["2 x 1"] / rates["2 x 2"], 2)
        rows.append(row)
    notes = [
        "Throughput of all trials together, relative to one trial with one thread; trials x threads each.",
        "The wall is the clock; others may have used the machine.",
    ]
    show("cores and threads", rows, notes=notes, path=options.json)


if __name__ == "__main__":
    if (os.cpu_count() or 1) < 2:
        sys.exit("needs two cores")
    main()
