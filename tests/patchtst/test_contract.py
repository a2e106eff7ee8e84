"""PatchTST passes the contracts of the test kit."""

from __future__ import annotations

import pytest

from scalecore.api.space import DataShape
from scalecore.testing import PluginContract
from scalecore_patchtst.family import PatchTSTFamily
from scalecore_patchtst.options import PatchTSTOptions
from scalecore_torch.testing import ModelContract


class TestPackage(PluginContract):
    distribution = "scalecore-patchtst"


class TestPatchTST(ModelContract):
    shapes = (DataShape(context=20, features=3, outputs=1), DataShape(context=24, features=1, outputs=3))
    max_parameters = 300_000

    @pytest.fixture
    def family(self) -> PatchTSTFamily:
        return PatchTSTFamily(
            PatchTSTOptions(patch_len=5, stride=5, d_model=[16, 32], n_layers=[1, 2, 4], n_heads=[2, 4])
        )
