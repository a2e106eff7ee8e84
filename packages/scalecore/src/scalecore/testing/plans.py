"""Fabricated plans, for tests of code that reads plans."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scalecore import __version__
from scalecore.api.data_report import DataReport
from scalecore.api.plan_report import PlanReport
from scalecore.config.kept import structured

__all__ = ["make_data", "make_plan"]


def _part(windows: int, first: str, last: str) -> dict[str, Any]:
    positives = windows * 3 // 10
    return {
        "hash": f"windows {first} .. {last}",
        "samples": [first, last],
        "windows": windows,
        "effective": windows,
        "positives": positives,
        "classes": [windows - positives, positives],
        "base_rate": 0.3,
        "prior_loss": 0.61,
        "entropy": 0.61,
    }


_DATA: Mapping[str, Any] = {
    "name": "walk.csv",
    "features": ["Close", "Volume"],
    "context": 4,
    "task": "binary",
    "outputs": 1,
    "target": {"kind": "direction", "horizon": 1, "hash": "direction 1", "text": "CLOSE[t+1] >= CLOSE[t]"},
    "rows": 1000,
    "first": "2001-01-01",
    "last": "2003-09-27",
    "prior": 0.3,
    "split": {
        "kind": "contiguous",
        "hash": "contiguous",
        "purge": 4,
        "embargo": 1,
        "parts": {
            "train": _part(700, "2001-01-04", "2002-12-04"),
            "val": _part(100, "2002-12-10", "2003-03-19"),
            "test": _part(100, "2003-03-25", "2003-07-02"),
        },
    },
    "normalise": {"kind": "standard"},
    "baselines": [{"name": "prior", "text": "constant: training share of each class", "loss": 0.61}],
    "fingerprint": "0123456789abcdef" * 4,
    "target_scale": None,
}
_PLAN: Mapping[str, Any] = {
    "name": "walk",
    "data": _DATA,
    "architectures": {
        "feasible": 1,
        "legal": 1,
        "range": [None, None],
        "dimensions": {},
        "architectures": [{"num_parameters": 9, "flops": 18}],
    },
    "planned": [],
    "trials": 4,
    "space": {"learning_rate": {"log_uniform": [1e-4, 1e-2]}},
    "fixed": {"epochs": 2},
    "loss": {"kind": "bce"},
    "memory": {"micro_batch": 64, "smallest": 400_000_000, "largest": 400_000_000, "source": "closed form"},
    "versions": {"scalecore": __version__},
}


def make_data(**changes: Any) -> DataReport:
    """A data report of 1,000 days of a random walk; `changes` replace entries of its JSON form, also nested ones."""
    return structured(DataReport, _merged(_DATA, changes), place="make_data")


def make_plan(**changes: Any) -> PlanReport:
    """The plan of a small study of these data; `changes` replace entries of its JSON form, also nested ones.

    `make_plan(data={"fingerprint": "other"}, space={"dropout": {"uniform": [0, 1]}})`
    """
    return structured(PlanReport, _merged(_PLAN, changes), place="make_plan")


def _merged(content: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Merge the changes into the content; some mappings, such as the space, are replaced as a whole."""
    result = dict(content)
    for key, value in changes.items():
        known, whole = result.get(key), key in ("space", "dimensions", "fixed", "loss", "roles")
        result[key] = (
            _merged(known, value) if isinstance(known, dict) and isinstance(value, dict) and not whole else value
        )
    return result
