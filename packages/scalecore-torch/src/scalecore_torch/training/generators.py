"""Seeds and saves Python's and numpy's random generators in addition to torch's, since a family may use them."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch


def seed_everything(seed: int) -> None:
    """Seed torch's generators on all devices, Python's, and numpy's global one."""
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed % 2**32)


def other_random_state() -> dict[str, Any]:
    """The state of Python's generator and of numpy's global one, in types that a checkpoint supports."""
    state: Any = np.random.get_state(legacy=False)
    key = torch.from_numpy(state["state"]["key"].astype(np.int64))
    return {"python": random.getstate(), "numpy": {**state, "state": {**state["state"], "key": key}}}


def restore_other_random_state(state: Mapping[str, Any]) -> None:
    """Restore the result of `other_random_state`; no effect for a checkpoint of an earlier version without it."""
    if "python" not in state:
        return
    random.setstate(state["python"])
    numpy = state["numpy"]
    key = numpy["state"]["key"].numpy().astype(np.uint32)
    np.random.set_state({**numpy, "state": {**numpy["state"], "key": key}})
