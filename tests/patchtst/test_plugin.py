"""The plugin's records and its imports."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from scalecore.api.errors import ExperimentError
from scalecore.config.resolve import load_resolved
from scalecore.planning.build_plan import build_plan
from scalecore.planning.check_names import name_problems
from scalecore.plugins.registry import load_registry
from scalecore_patchtst.family import PatchTSTFamily


def test_nothing_heavy_is_imported_before_a_model_is_built() -> None:
    """In a fresh interpreter the plugin, its family and all closed forms need no torch, numpy, optuna or pandas."""
    code = """
import sys
from scalecore_patchtst import plugin
import scalecore_patchtst.family
from scalecore.api.space import DataShape

(record,) = plugin.scalecore_models()
family, data = record.factory(record.options()), DataShape(context=60, features=25, outputs=1)
for shape in family.architecture_space(data).architectures:
    family.num_parameters(shape, data), family.flops(shape, data), family.saved_activations(shape, data)
family.hyperparameters()
print([name for name in ("torch", "numpy", "optuna", "pandas", "pyarrow", "scipy") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_the_declared_hyperparameters_are_two_rates(family: PatchTSTFamily) -> None:
    """Their defaults and bounds are tested; the contract tests that `build` reads them."""
    found = {one.name: (one.default, one.low, one.high) for one in family.hyperparameters()}
    assert found == {"dropout": (0.2, 0.0, 0.9), "head_dropout": (0.0, 0.0, 0.9)}


def test_contradictory_options_are_reported_with_their_position(tmp_path: Path) -> None:
    """`scalecore check` and the plan report the key of the option, like the core's own checks."""
    (tmp_path / "data.csv").touch()
    file = tmp_path / "mine.yaml"
    file.write_text(
        "name: mine\n"
        "dataset: {use: parquet, path: data.csv, features: [Close], target: {kind: direction}, context: 8}\n"
        "model: {use: patchtst, d_model: [64], n_heads: [3], patch_len: 16}\n"
        "search: {use: random}\n"
    )
    expected = {
        (): "3:39: model.n_heads: none of 3 divides any d_model of 64; add a number of heads that divides one of them",
        ("model.n_heads=[4]",): "3:64: model.patch_len: a patch of 16 steps does not fit into the context of 8 steps; "
        "lower model.patch_len to 8 or less, or raise dataset.context",
    }
    for overrides, text in expected.items():
        loaded, resolved = load_resolved(file, overrides=overrides, registry=load_registry())
        assert [problem.text for problem in name_problems(loaded, resolved)] == [f"{file}:{text}"]
    with pytest.raises(ExperimentError) as caught:
        build_plan(*load_resolved(file, registry=load_registry()), folder=tmp_path / "study")
    assert str(caught.value) == f"{file}:{expected[()]}"
