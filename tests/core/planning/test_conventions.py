"""Conventions of new studies and of studies started by version 0.1."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from scalecore.api.metrics import objective_value
from scalecore.api.plan_report import ProductsReport
from scalecore.planning.build_spec import attempt_spec
from scalecore.planning.conventions import begun_plan
from scalecore.planning.plan import Plan
from scalecore.store.events import StudyBegun
from scalecore.store.identity import trial_content, trial_hash, unbound
from scalecore.store.journal import Journal
from scalecore.testing.fakes import plan_walk
from scalecore_torch.spec import TorchSpec

PRECISION = "objective={metric: precision, direction: maximize}"


@pytest.fixture
def planned(tmp_path: Path) -> Callable[..., Plan]:
    """Plans an experiment on the next direction of a random walk, as a study in `tmp_path / "study"`."""
    guards = {"min_validation_samples": 30, "min_validation_positives": 7}
    return partial(plan_walk, tmp_path, "dataset.target.horizon=3", "dataset.context=6", guards=guards)


def spec(plan: Plan) -> TorchSpec:
    (one,) = plan.grid.architectures
    fixed: dict[str, Any] = {"mode": "train", "attempt": "0-0", "number": 0, "seed": 5, "micro_batch": 64, "threads": 1}
    fixed |= {"architecture": one.values, "num_parameters": one.num_parameters, "hyperparameters": plan.fixed}
    made = attempt_spec(plan, data=Path("data"), registry={}, flops=one.flops, **fixed)
    assert isinstance(made, TorchSpec)
    return made


def identity(plan: Plan) -> str:
    how: dict[str, Any] = {"unbound": unbound(plan.resolved), "data": plan.data.fingerprint}
    return trial_hash(trial_content(plan.identity, architecture={}, hyperparameters={}, **how), seed=5)


def begin(folder: Path, plan: Plan, *, old: bool) -> None:
    """A study whose journal has one line, as 0.1 or this version writes it."""
    folder.mkdir()
    content = plan.report().plain()
    if old:
        del content["data"]["target_scale"], content["products"], content["compile_rule"]
    journal = Journal(folder / "journal.jsonl")
    journal.append(StudyBegun(experiment=plan.experiment, plan=content))
    journal.close()


def test_g19_the_minimum_denominator_is_that_of_the_positives(planned: Any) -> None:
    """In effective windows, which overlapping labels reduce; only if the model chooses the windows."""
    plan = planned(PRECISION)
    assert plan.min_denominator == 7 * 3
    assert spec(plan).plan.min_denominator == 21
    for metric in ("recall", "auc", "f1"):
        assert planned(f"objective={{metric: {metric}, direction: maximize}}").min_denominator == 0
    assert planned().min_denominator == 0


def test_g19_the_minimum_denominator_is_part_of_a_trials_identity(planned: Any, tmp_path: Path) -> None:
    """By name, but not in a study that started without it: its trials keep their hashes."""
    new = identity(planned(PRECISION))
    assert planned().identity == planned().experiment
    begin(tmp_path / "study", planned(PRECISION), old=True)
    assert (begun := begun_plan(tmp_path / "study")) is not None
    assert begun.data.of_version_0_1
    old = planned(PRECISION)
    assert old.min_denominator == 0
    assert old.identity == old.experiment
    assert identity(old) != new


def test_a_study_of_this_version_keeps_its_conventions(planned: Any, tmp_path: Path) -> None:
    """Its first line shows that it is not of 0.1; without a study there are no conventions yet."""
    new = identity(planned(PRECISION))
    assert begun_plan(tmp_path / "study") is None
    begin(tmp_path / "study", planned(PRECISION), old=False)
    assert (begun := begun_plan(tmp_path / "study")) is not None
    assert not begun.data.of_version_0_1
    assert identity(planned(PRECISION)) == new


@pytest.mark.parametrize(
    ("line", "metric", "direction", "value"),
    [
        ({"precision": 0.25}, "precision", "maximize", 0.25),
        ({"precision": None}, "precision", "maximize", 0.0),
        ({"coverage": None}, "coverage", "minimize", 1.0),
        ({"r2": None}, "r2", "maximize", None),
        ({"val_loss": 0.0}, "val_loss", "minimize", 0.0),
        ({"val_loss": 0.5}, "precision", "maximize", None),
    ],
)
def test_g19_a_share_of_nothing_counts_as_the_worst_share(
    line: dict[str, Any], metric: str, direction: str, value: float | None
) -> None:
    """Other metrics, and metrics that are not measured, have no value."""
    assert objective_value(line, metric=metric, direction=direction) == value


def said_of_products(plan: Plan) -> list[str]:
    return [finding.message for finding in plan.findings if finding.subject == "products"]


def test_the_library_of_products_is_that_with_which_the_study_began(
    planned: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also on another processor or with a later version; the plan shows it, and attempts receive it."""
    monkeypatch.setattr(
        "scalecore_torch.training.product_library.read_cpuinfo", lambda: "vendor_id : ShanghaiMaker\nflags : sse2\n"
    )
    began = planned()
    why = "ShanghaiMaker without AVX-512: MKL is as wide as oneDNN"
    assert began.conventions.products == ProductsReport(name="torch", why=why)
    begin(tmp_path / "study", began, old=False)
    flags = "avx512f avx512bw avx512dq avx512vl"
    monkeypatch.setattr(
        "scalecore_torch.training.product_library.read_cpuinfo", lambda: f"vendor_id : Other\nflags : {flags}\n"
    )
    again = planned()
    assert again.conventions.products == began.conventions.products
    assert spec(again).products == again.conventions.products
    assert said_of_products(again) == [
        f"float32 matrix products on a CPU: torch ({why}), if the model supports the choice"
    ]
    assert said_of_products(planned("training.device=mps")) == []


def test_a_study_without_a_library_of_products_has_none_for_good(planned: Any, tmp_path: Path) -> None:
    """Its attempts receive none, which means the behaviour before the choice existed; identities are equal."""
    new = planned()
    assert new.conventions.products is not None
    begin(tmp_path / "study", new, old=True)
    old = planned()
    assert old.conventions.products is None
    assert spec(old).products is None
    assert old.begun().plan.products is None
    assert identity(old) == identity(new)
    assert said_of_products(old) == [
        "float32 matrix products on a CPU: onednn with AVX-512, as when the study began, if the model supports the "
        "choice"
    ]


def test_the_rule_of_compiling_is_that_with_which_the_study_began(planned: Any, tmp_path: Path) -> None:
    """An older study always decides by FLOPs, also for new trials; a new one by savings; identities are equal."""
    new = planned()
    assert (new.conventions.compile_rule, spec(new).compile_rule) == ("savings", "savings")
    begin(tmp_path / "study", new, old=True)
    old = planned()
    assert (old.conventions.compile_rule, spec(old).compile_rule) == ("flops", "flops")
    assert old.begun().plan.compile_rule == "flops"
    assert identity(old) == identity(new)


def test_a_study_that_began_with_savings_keeps_them(planned: Any, tmp_path: Path) -> None:
    """As stored in its first plan, whatever a later version would choose."""
    begin(tmp_path / "study", planned(), old=False)
    assert planned().conventions.compile_rule == "savings"
