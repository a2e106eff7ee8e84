"""What the plugin hands to scalecore, and what it does not import."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points
from typing import Any

import scalecore_patchtst.plugin as plugin
from scalecore.space import DataShape
from scalecore_patchtst.family import PatchTSTFamily
from scalecore_patchtst.options import PatchTSTOptions


def test_the_entry_point_offers_the_family_patchtst() -> None:
    """The group `scalecore` names the plugin module, whose only record makes the family from its options."""
    (entry,) = [entry for entry in entry_points(group="scalecore") if entry.name == "patchtst"]
    assert entry.load() is plugin
    (record,) = plugin.scalecore_models()
    assert (record.name, record.options) == ("patchtst", PatchTSTOptions)
    assert isinstance(record.factory(PatchTSTOptions()), PatchTSTFamily)


def test_nothing_heavy_is_imported_before_a_model_is_built() -> None:
    """In a fresh interpreter the plugin, its family and all closed forms need no torch, numpy, optuna or pandas."""
    code = """
import sys
from scalecore_patchtst import plugin
import scalecore_patchtst.family
from scalecore.space import DataShape

(record,) = plugin.scalecore_models()
family, data = record.factory(record.options()), DataShape(context=60, features=25, outputs=1)
for shape in family.architecture_space(data).architectures:
    family.num_parameters(shape, data), family.flops(shape, data), family.saved_activations(shape, data)
family.hyperparameters()
print([name for name in ("torch", "numpy", "optuna", "pandas", "pyarrow", "scipy") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


class Recording:
    """A reader that remembers what was asked for."""

    def __init__(self, values: dict[str, Any]) -> None:
        self.values = values
        self.read: list[str] = []

    def __getitem__(self, name: str) -> Any:
        self.read.append(name)
        return self.values[name]


def test_g03_building_reads_every_declared_hyperparameter(family: PatchTSTFamily) -> None:
    """What the family declares is what `build` reads, once each and nothing else, and the defaults are legal."""
    declared = family.hyperparameters()
    reader = Recording({parameter.name: parameter.default for parameter in declared})
    family.build(
        {"d_model": 16, "n_layers": 1, "n_heads": 2, "d_ff": 32}, reader, DataShape(context=20, features=2, outputs=1)
    )
    assert sorted(reader.read) == sorted(parameter.name for parameter in declared) == ["dropout", "head_dropout"]
    assert reader.values == {"dropout": 0.2, "head_dropout": 0.0}
    for parameter in declared:
        assert (parameter.low, parameter.high) == (0.0, 0.9)
        assert parameter.problem(parameter.default) is None
