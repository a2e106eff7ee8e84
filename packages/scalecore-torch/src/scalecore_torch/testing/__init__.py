"""The test kit for models in PyTorch; `pip install scalecore[testing]`.

Inherit from the contract in a test module and define its fixture `family`; pytest then runs its tests on your model::

    from scalecore_torch.testing import ModelContract

    class TestMyModel(ModelContract):
        @pytest.fixture
        def family(self):
            return MyFamily(MyOptions())
"""

from __future__ import annotations

import pytest

# Before the import of the contract, so that a failed assertion shows its values.
pytest.register_assert_rewrite("scalecore_torch.testing.model")

from scalecore_torch.testing.model import ModelContract
from scalecore_torch.testing.training import make_attempt_spec, make_training_plan

__all__ = ["ModelContract", "make_attempt_spec", "make_training_plan"]
