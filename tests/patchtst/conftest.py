from __future__ import annotations

import pytest
import torch

from scalecore.api.space import DataShape
from scalecore_patchtst.family import PatchTSTFamily
from scalecore_patchtst.options import PatchTSTOptions


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """The sizes here are too small to benefit from a second thread."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def family() -> PatchTSTFamily:
    return PatchTSTFamily(PatchTSTOptions())


@pytest.fixture(scope="session")
def data() -> DataShape:
    """The data shape of the recorded counts."""
    return DataShape(context=60, features=25, outputs=1)
