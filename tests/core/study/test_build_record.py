"""The record of a trial from the end of its last attempt, without any process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from scalecore.api.space import Architecture
from scalecore.api.trials import Origin, Proposal, TrialRecord, TrialState
from scalecore.config.kept import checked
from scalecore.execution.attempt_result import AttemptEnd, AttemptResult
from scalecore.execution.folder import AttemptFolder
from scalecore.planning.plan import Plan
from scalecore.store.asked_trial import AskedTrial, Attempt
from scalecore.store.event_lines import event_of
from scalecore.store.events import AttemptEnded, AttemptStarted
from scalecore.store.record_json import record_from, record_plain
from scalecore.study.build_record import build_record, over_attempts
from scalecore.study.running_trial import RunningTrial
from scalecore.testing.fakes import changed, plan_walk


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """The plan of a study on a random walk, built once."""
    return plan_walk(tmp_path_factory.mktemp("plan"))


def made(index: int, end: dict[str, Any]) -> Attempt:
    """An attempt with this end."""
    one = {"number": 3, "index": index}
    begun = {"micro_batch": 64, "predicted_memory": 1, "memory": {"source": "traced"}}
    return Attempt(
        started=event_of(AttemptStarted, time="2026-01-01T00:00:00.000Z", **one, **begun),
        ended=event_of(AttemptEnded, **one, **({"class": "killed"} | end)),
    )


def ended(plan: Plan, kind: Any, reason: str | None = None, **result: Any) -> TrialRecord:
    """The record of a trial with one attempt; `result` is the result that the attempt wrote, or None."""
    proposal = Proposal(
        architecture=plan.grid.architectures[0], hyperparameters={"learning_rate": 1e-3}, origin=Origin(kind="sampled")
    )
    attempt = made(0, {"class": kind, "reason": reason, "seconds": 2.0, "pauses": 1, "paused_seconds": 0.5})
    asked = AskedTrial(number=3, proposal=proposal, hyperparameters={"epochs": 2}, hash="h", seed=7, attempts=[attempt])
    running = RunningTrial(
        asked=asked,
        index=0,
        folder=AttemptFolder(Path("nowhere")),
        handle=None,
        micro_batch=64,
        predicted_memory=10**8,
        memory_limit=10**9,
    )
    wrote = checked(AttemptResult, {"attempt": "3-0", "state": kind, **result}) if result else None
    return build_record(plan, running, AttemptEnd(kind=kind, reason=reason, peak_memory=5, result=wrote))


LINE = {"epoch": 2, "train_loss": 0.7, "val_loss": 0.69}
BEST = {**LINE, "predictions": {"min": 0.2, "max": 0.8, "std": 0.1}}


def test_a_completed_trial_has_its_value_and_what_was_measured(plan: Plan) -> None:
    """It has no reason, and the numbers that the attempt wrote."""
    record = ended(
        plan,
        "completed",
        value=0.69,
        best=BEST,
        last=LINE,
        learning_curve=[LINE],
        device="cpu",
        threads=1,
        windows=600,
        epochs_ended=2,
        train_seconds=4.0,
        weights="abc",
        peak_memory=9,
    )
    assert (record.state, record.value, record.reason) == (TrialState.COMPLETED, 0.69, None)
    assert (record.throughput, record.duration, record.micro_batch, record.accumulation) == (300.0, 2.0, 64, 1)
    assert [record.versions[name] for name in ("run:device", "run:threads", "weights")] == ["cpu", "1", "abc"]
    assert "run:gpu" not in record.versions
    assert len(record.learning_curve) == 1


def test_the_loss_is_kept_with_settings_of_every_form(tmp_path: Path) -> None:
    """Quantiles and class weights are lists."""
    returns = plan_walk(tmp_path, "training.loss={kind: quantile}", "dataset.target={kind: forward_return, horizon: 1}")
    record = ended(returns, "completed", value=0.69, best=BEST, last=LINE)
    assert record.loss == {"kind": "quantile", "quantiles": [0.1, 0.5, 0.9]}
    for kept in (record, changed(record, loss={"kind": "cross_entropy", "class_weights": [1.0, 2.0]})):
        assert record_from(record_plain(kept)) == kept


@pytest.mark.parametrize(
    ("kind", "state"),
    [
        ("pruned", TrialState.PRUNED),
        ("diverged", TrialState.DIVERGED),
        ("failed", TrialState.FAILED),
        ("crashed", TrialState.FAILED),
        ("killed", TrialState.FAILED),
        ("hung", TrialState.TIMED_OUT),
        ("out_of_memory", TrialState.OUT_OF_MEMORY),
    ],
)
def test_g36_a_value_is_that_of_a_completed_or_pruned_trial_only(plan: Plan, kind: str, state: TrialState) -> None:
    """Every other end has a reason instead."""
    record = ended(plan, kind, "it is so", value=0.5)
    assert (record.state, record.reason) == (state, "it is so")
    assert record.value == (0.5 if state is TrialState.PRUNED else None)


def test_an_attempt_without_a_result_makes_a_record_too(plan: Plan) -> None:
    """The record contains what the driver knows."""
    record = ended(plan, "killed", "the executor lost the attempt")
    assert (record.state, record.value, record.best, record.throughput) == (TrialState.FAILED, None, None, None)
    assert list(record.learning_curve) == []


def test_g40_a_shape_that_ran_out_of_memory_is_quarantined_and_halvings_are_flagged(plan: Plan) -> None:
    """The flag has the final micro-batch and its effect on the model."""
    halvings = [{"epoch": 1, "step": 4, "from": 64, "to": 32}, {"epoch": 1, "step": 9, "from": 32, "to": 16}]
    batching = {"micro_batch": 16, "halvings": halvings, "invariance": "exact"}
    record = ended(plan, "out_of_memory", "no memory", batching=batching)
    assert (record.micro_batch, record.accumulation) == (16, 4)
    texts = [flag.text for flag in record.flags if flag.guard == "G40"]
    assert texts == [
        "out of memory at micro-batch 16, the smallest one tried: not retried",
        "out of memory in epoch 1, step 4: micro-batch 64 -> 16; the sums are the same up to rounding",
    ]


def test_g03_what_nothing_read_and_what_the_attempt_warned_of_are_flags(plan: Plan) -> None:
    """Flags of a trial with a best epoch."""
    record = ended(plan, "completed", value=0.69, best=BEST, unread=["dropout"], warnings=["checkpoint not written"])
    texts = {flag.guard: flag.text for flag in record.flags}
    assert (texts["G03"], texts["G44"]) == ("never read: dropout", "checkpoint not written")


def test_pauses_of_all_attempts_are_added_up() -> None:
    """Pauses of the first and the last attempt count; a killed attempt reports none."""
    ends: tuple[dict[str, Any], ...] = (
        {"paused_seconds": 2.0, "pauses": 1},
        {"paused_seconds": None},
        {},
        {"paused_seconds": 3.5, "pauses": 2},
    )
    asked = AskedTrial(
        number=0,
        proposal=Proposal(
            architecture=Architecture(values={}, num_parameters=1, flops=1),
            hyperparameters={},
            origin=Origin(kind="sampled"),
        ),
        hyperparameters={},
        hash="",
        seed=0,
        attempts=[made(index, end) for index, end in enumerate(ends)],
    )
    assert over_attempts(asked, "paused_seconds") == 5.5
    assert over_attempts(asked, "pauses") == 3
