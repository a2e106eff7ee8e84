"""Write switches.csv: made-up data with a known answer, for examples/quickstart.yaml.

Each day two switches, `left` and `right`, are set to 0 or 1 at random. `lamp` is 1 if `left` 3 days before differs from
`right` 13 days before, and 0 if they are equal. In 3 days of every 20, chosen at random, `lamp` is flipped.
"""

from pathlib import Path

import numpy as np
import pandas as pd

SEED, ROWS = 1, 8000


def switches(seed: int) -> pd.DataFrame:
    """One row per day; the same table for the same seed."""
    random = np.random.default_rng(seed)
    left, right = random.integers(2, size=(2, 13 + ROWS))
    lamp = left[13 - 3 : -3] ^ right[:-13]
    flipped = random.permuted(np.arange(ROWS).reshape(-1, 20) % 20 < 3, axis=1).ravel()
    dates = pd.date_range("2000-01-01", periods=ROWS, name="date")
    return pd.DataFrame({"left": left[13:], "right": right[13:], "lamp": lamp ^ flipped}, index=dates)


if __name__ == "__main__":
    switches(SEED).to_csv(Path(__file__).with_name("switches.csv"), lineterminator="\n")
