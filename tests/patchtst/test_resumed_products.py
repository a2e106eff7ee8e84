"""Attempts of PatchTST with a library for float32 products, in separate processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from attrs import evolve

from scalecore.api.plan_report import ProductsReport
from scalecore.config.resolve import load_resolved
from scalecore.execution.attempt_result import AttemptResult
from scalecore.execution.folder import AttemptFolder
from scalecore.planning.build_plan import build_plan
from scalecore.planning.build_spec import attempt_spec
from scalecore.plugins.registry import load_registry
from scalecore_patchtst.products import HAS_ONEDNN
from scalecore_torch.spec import TorchSpec

FILE = """
name: walk
dataset: {use: parquet, path: walk.csv, features: [Close], target: {kind: direction, horizon: 1}, context: 16}
model: {use: patchtst, patch_len: 8, stride: 4, d_model: [64], n_layers: [2], n_heads: [2], d_ff_ratio: [2]}
search: {use: random, trials: 1}
training: {effective_batch: 256, early_stopping: null, threads: 1, checkpoint_epochs: 1}
"""


def prepared(root: Path) -> TorchSpec:
    """A spec as created by the driver."""
    close = 100 * np.exp(np.cumsum(np.random.default_rng(7).normal(0, 0.01, 1200))).round(6)
    rows = [f"{np.datetime64('2001-01-01') + day},{price}" for day, price in enumerate(close.tolist())]
    (root / "walk.csv").write_text("\n".join(["date,Close", *rows]) + "\n")
    (root / "walk.yaml").write_text(FILE)
    plan, _ = build_plan(*load_resolved(root / "walk.yaml", registry=load_registry()), folder=root / "study")
    plan.write_data(root / "data")
    (one,) = plan.grid.architectures
    fixed: dict[str, Any] = {"mode": "train", "number": 0, "seed": 5, "micro_batch": 256, "threads": 1}
    fixed |= {"architecture": one.values, "num_parameters": one.num_parameters, "flops": one.flops}
    fixed |= {"hyperparameters": {**plan.fixed, "epochs": 2}, "registry": {"no_plugins": False, "block": []}}
    spec = attempt_spec(plan, attempt="0-0", data=root / "data", **fixed)
    assert isinstance(spec, TorchSpec)
    assert plan.conventions.products is not None
    assert spec.products == plan.conventions.products
    return spec


def run(folder: Path, spec: TorchSpec) -> AttemptResult:
    attempt = AttemptFolder(folder)
    attempt.create(spec)
    worker = [sys.executable, "-m", "scalecore_torch.worker", str(folder), str(os.getpid())]
    subprocess.run(worker, check=True)
    result = attempt.read_result("0-0")
    assert result is not None
    assert result.state == "completed", result.reason
    return result


def test_a_resumed_trial_keeps_the_library_of_its_start(tmp_path: Path) -> None:
    """Although the study has another library, its final weights are bitwise equal to the uninterrupted trial's."""
    spec = prepared(tmp_path)
    torchs, onednn = (ProductsReport(name=name, why="a test") for name in ("torch", "onednn"))
    whole = run(tmp_path / "whole", evolve(spec, products=torchs))
    assert (whole.policy.products, (whole.policy.why or {})["products"]) == ("torch", "a test")
    resumed = run(tmp_path / "resumed", evolve(spec, products=onednn, resume_from=[str(tmp_path / "whole")]))
    assert resumed.resumed_from is not None
    assert resumed.steps_here < resumed.steps
    assert resumed.policy == whole.policy
    assert resumed.weights == whole.weights
    other = run(tmp_path / "other", evolve(spec, products=onednn))
    assert other.policy.products == ("onednn" if HAS_ONEDNN else "torch")
    assert (other.weights != whole.weights) is HAS_ONEDNN
    assert (not other.warnings) is HAS_ONEDNN
