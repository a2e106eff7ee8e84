"""Tables, checks and baselines outside of a study's plan, for packages that apply or compare models."""

from scalecore.builtin.parquet import numbers
from scalecore.builtin.tables import read_table
from scalecore.data.baselines import Baseline, baselines
from scalecore.data.checks import check_finite, check_panel
from scalecore.data.dates import stamp
from scalecore.data.normalise import Normaliser
from scalecore.data.regression import cross_entropies, probabilities

__all__ = [
    "Baseline",
    "Normaliser",
    "baselines",
    "check_finite",
    "check_panel",
    "cross_entropies",
    "numbers",
    "probabilities",
    "read_table",
    "stamp",
]
