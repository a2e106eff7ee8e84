"""Writes `echo.csv`: made-up prices in which each day's return answers those of one day and of six days before.

A model that looks back six days can tell much of tomorrow's direction; one that sees the last day only, a little.
"""

from __future__ import annotations

import math
import random
from datetime import date, timedelta
from pathlib import Path


def table(rows: int = 1500, seed: int = 11) -> str:
    """Date, Close and Return as CSV, the oldest day first."""
    generator, returns, price = random.Random(seed), [0.0] * 6, 100.0
    lines = ["Date,Close,Return"]
    for row in range(rows):
        returns.append(0.4 * returns[-1] - 0.5 * returns[-6] + generator.gauss(0, 0.01))
        price *= math.exp(returns[-1])
        lines.append(f"{date(2015, 1, 1) + timedelta(days=row)},{price:.4f},{returns[-1]:.6f}")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    Path(__file__).with_name("echo.csv").write_text(table())
