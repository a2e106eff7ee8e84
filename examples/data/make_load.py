"""Write load.parquet: made-up data for examples/scaling-quick.yaml, on which the loss of the best model is known.

Each day has 24 independent, normally distributed drivers, rounded to a decimal, and a place in a season of 28 days. The
load of the next day is

    sum of p(driver) / sqrt(24)  +  cos(season) + cos(2 season) / 2  +  noise,     p(x) = (x + x² - 1) / sqrt(3),

where p has mean 0 and variance 1, and the noise variance 3/4. The labels are `load_1`, the load of the next day, and
`load_5`, the mean load of the next five days.
"""

from pathlib import Path

import numpy as np
import pandas as pd

SEED, ROWS, DRIVERS, DAYS, SEASON, NOISE = 1, 12_000, 24, 5, 28, 3 / 4


def least_loss(days: int, width: int = DRIVERS) -> float:
    """The least mean squared error for the load of these days, from `width` linear combinations of the drivers.

    The drivers of all days but the first are still unknown. Of the first day's, the squares, two thirds of the variance
    of p, are known for `width` of the 24 at most: no combination of normal variables says more about their squares than
    one of the variables does.
    """
    unseen = 2 / 3 * max(0.0, 1 - width / DRIVERS)
    return (days - 1 + unseen) / days**2 + NOISE / days


def load(seed: int) -> pd.DataFrame:
    """One row per day; the same table for the same seed."""
    random = np.random.default_rng(seed)
    days = ROWS + DAYS
    drivers = random.standard_normal((days, DRIVERS)).round(1)
    season = 2 * np.pi * (np.arange(days) % SEASON) / SEASON
    effect = (drivers + drivers**2 - 1).sum(axis=1) / np.sqrt(3 * DRIVERS)
    noise = random.normal(scale=np.sqrt(NOISE), size=days)
    following = (np.roll(effect, 1) + np.cos(season) + np.cos(2 * season) / 2 + noise)[1:]
    columns = {f"driver_{k:02}": drivers[:ROWS, k - 1] for k in range(1, DRIVERS + 1)}
    columns |= {"season_cos": np.cos(season[:ROWS]), "season_sin": np.sin(season[:ROWS])}
    for count in (1, DAYS):
        means = np.lib.stride_tricks.sliding_window_view(following, count).mean(axis=1)
        columns[f"load_{count}"] = means[:ROWS].round(3)
    return pd.DataFrame(columns, index=pd.date_range("1990-01-01", periods=ROWS, name="date")).astype("float32")


if __name__ == "__main__":
    load(SEED).to_parquet(Path(__file__).with_name("load.parquet"), compression="zstd")
