"""Builds the record of a trial from the end of its last attempt: state, reason, measured numbers, flags."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from scalecore.api.files import plain, utc_now
from scalecore.api.trials import TrialRecord, TrialState
from scalecore.execution.attempt_result import AttemptEnd, AttemptResult
from scalecore.planning.plan import Plan
from scalecore.planning.quarantine import quarantine_flag
from scalecore.store.asked_trial import AskedTrial, Attempt
from scalecore.store.record_json import record_from
from scalecore.study.flags import small_denominator, suspicions
from scalecore.study.running_trial import RunningTrial

RUN = ("device", "gpu", "threads")
"""Fields of the attempt's result that the record's `versions` contain under `run:`."""

STATE_OF = {
    "completed": TrialState.COMPLETED,
    "pruned": TrialState.PRUNED,
    "diverged": TrialState.DIVERGED,
    "out_of_memory": TrialState.OUT_OF_MEMORY,
    "hung": TrialState.TIMED_OUT,
}


def build_record(
    plan: Plan,
    running: RunningTrial,
    end: AttemptEnd,
    *,
    predictions: Mapping[str, Any] | None = None,
    earlier: Sequence[TrialRecord] = (),
) -> TrialRecord:
    """Build the record of a trial whose last attempt has just ended.

    `predictions` describes the file of its logits. `earlier` are finished trials with the same validation loss:
    two trials with identical metrics are suspicious.
    """
    asked, result = running.asked, end.result or AttemptResult(attempt="", state=end.kind)
    state = STATE_OF.get(end.kind, TrialState.FAILED)
    value = result.value if state in (TrialState.COMPLETED, TrialState.PRUNED) else None
    if value is not None and not math.isfinite(value):
        state, value = TrialState.DIVERGED, None
    seconds = over_attempts(asked, "seconds")
    train_seconds = result.train_seconds or 0.0
    computed = (result.windows or 0) * (result.epochs_ended or 0)
    micro = _micro_batch(running, result)
    return _record(
        number=asked.number,
        hash=asked.hash,
        seed=asked.seed,
        state=state,
        reason=end.reason if state is not TrialState.COMPLETED else None,
        value=value,
        origin=asked.proposal.origin,
        architecture=asked.proposal.architecture,
        hyperparameters=dict(asked.hyperparameters),
        micro_batch=micro,
        accumulation=math.ceil(plan.step_size.effective_batch / micro),
        started=asked.attempts[0].started.time if asked.attempts else None,
        ended=utc_now(),
        duration=seconds,
        best=None if result.best is None else result.best.plain(),
        last=None if result.last is None else result.last.plain(),
        train=None if result.train is None else result.train.plain(),
        learning_curve=result.learning_curve or (),
        predictions=predictions,
        loss=plan.loss,
        data=_data_summary(plan),
        policy={} if result.policy is None else result.policy.plain(),
        timings={
            "train_seconds": train_seconds,
            "paused_seconds": over_attempts(asked, "paused_seconds"),
            "checkpoint_seconds": over_attempts(asked, "checkpoint_seconds"),
        },
        throughput=computed / train_seconds if train_seconds and computed else None,
        memory={
            **_prediction(asked),
            "predicted": running.predicted_memory,
            "measured": (result.memory and result.memory.peak) or result.peak_memory or end.peak_memory,
            "limit": running.memory_limit,
        },
        batching={
            **({} if result.batching is None else result.batching.plain()),
            "activation_checkpointing": running.checkpointing,
        },
        hardware=running.summary.plain() | {"pauses": {"count": int(over_attempts(asked, "pauses"))}},
        attempts=[_attempt_summary(a) for a in asked.attempts],
        resumptions=sum(one.started.resumes for one in asked.attempts),
        flags=[
            *plan.data.flags,
            *_flags(plan, result, running, earlier),
            *_quarantine(state, micro),
            *_halved(result),
        ],
        versions={
            **plan.companions,
            **plan.versions,
            **{f"run:{name}": str(value) for name in RUN if (value := getattr(result, name)) is not None},
            **({} if result.weights is None else {"weights": result.weights}),
        },
    )


def _prediction(asked: AskedTrial) -> dict[str, Any]:
    """Return how the last attempt's memory was predicted (see `scalecore.api.memory_forecast.MemoryPrediction`)."""
    memory = asked.attempts[-1].started.memory if asked.attempts else None
    return {} if memory is None else {name: one for name, one in memory.plain().items() if name != "predicted"}


def _record(**content: object) -> TrialRecord:
    """Validate the content as a reader of the journal does: it comes from another process."""
    return record_from(plain(content))


def over_attempts(asked: AskedTrial, name: str) -> float:
    """Return the sum over all attempts that reported the value; a killed attempt reports none."""
    return float(sum(getattr(attempt.ended, name, None) or 0.0 for attempt in asked.attempts))


def unstarted_record(plan: Plan, asked: AskedTrial, *, state: TrialState, reason: str, predicted: int) -> TrialRecord:
    """Build the record of a trial that was refused before its first attempt."""
    return _record(
        number=asked.number,
        hash=asked.hash,
        seed=asked.seed,
        state=state,
        reason=reason,
        value=None,
        origin=asked.proposal.origin,
        architecture=asked.proposal.architecture,
        hyperparameters=dict(asked.hyperparameters),
        started=None,
        ended=utc_now(),
        data=_data_summary(plan),
        memory={"predicted": predicted, "measured": None},
        attempts=[_attempt_summary(a) for a in asked.attempts],
        flags=[*plan.data.flags, quarantine_flag(reason)],
        versions={**plan.companions, **plan.versions},
    )


def _flags(
    plan: Plan, result: AttemptResult, running: RunningTrial, earlier: Sequence[TrialRecord]
) -> list[dict[str, str]]:
    flags = [{"guard": "G44", "kind": "warning", "text": text} for text in result.warnings or ()]
    flags += [{"guard": "G43", "kind": "slow", "text": text} for text in running.pace.flags]
    if result.best is None:
        return flags
    best = result.best.plain()
    flags += suspicions(best, data=plan.data, earlier=earlier)
    objective = plan.resolved.experiment.objective
    line = best if objective.reduction == "best" or result.last is None else result.last.plain()
    if (few := small_denominator(line, metric=objective.metric, least=plan.min_denominator)) is not None:
        flags.append(few)
    if plan.step_size.depends_on_micro_batch and running.micro_batch < plan.step_size.effective_batch:
        kind = plan.loss["kind"]
        text = f"{kind} was computed within micro-batches of {running.micro_batch}: the result depends on their size"
        flags.append({"guard": "G40", "kind": "micro_batch", "text": text})
    for quantity, reason in running.summary.reasons.items():
        known = quantity in running.summary.values or quantity in running.summary.unguarded
        if quantity == "temperature" and not known:
            flags.append({"guard": "G41", "kind": "unavailable", "text": f"temperature unavailable: {reason}"})
    if result.unread:
        flags.append({"guard": "G03", "kind": "unread", "text": f"never read: {', '.join(result.unread)}"})
    return flags


def _micro_batch(running: RunningTrial, result: AttemptResult) -> int:
    """Return the final micro-batch: it may have been halved within a step."""
    return (result.batching and result.batching.micro_batch) or running.micro_batch


def _halved(result: AttemptResult) -> list[dict[str, str]]:
    """Return a flag if memory ran out within steps, with the effect of the smaller micro-batch on the result."""
    if result.batching is None or not result.batching.halvings:
        return []
    halvings, kind = result.batching.halvings, result.batching.invariance
    meaning = {
        "exact": "the sums are the same up to rounding",
        "stochastic": "the model draws different random numbers from the same distribution",
        "not_invariant": "model or loss depend on the micro-batch: this is not the trial that was planned",
    }.get(str(kind), "the effect on this model is unknown")
    first = halvings[0]
    where = f"epoch {first.epoch}, step {first.step}"
    text = f"out of memory in {where}: micro-batch {first.before} -> {halvings[-1].after}; {meaning}"
    return [{"guard": "G40", "kind": "halved", "text": text}]


def _quarantine(state: TrialState, micro_batch: int) -> list[dict[str, str]]:
    """Return the flag of a shape that ran out of memory at its smallest micro-batch."""
    if state is not TrialState.OUT_OF_MEMORY:
        return []
    return [quarantine_flag(f"out of memory at micro-batch {micro_batch}, the smallest one tried: not retried")]


def _data_summary(plan: Plan) -> dict[str, Any]:
    """Return the data section of every record: fingerprint, target, split statistics (guards G01, G07)."""
    data = plan.data.plain()
    kept = ("name", "fingerprint", "target", "split", "features", "context", "prior", "normalise", "target_scale")
    drift = [row.plain() for row in plan.data.drift if row.strong]
    return {key: data[key] for key in kept} | {"strong_drift": drift}


def _attempt_summary(attempt: Attempt) -> dict[str, Any]:
    started, ended = attempt.started, {} if attempt.ended is None else attempt.ended.plain()
    kept = ("class", "reason", "exit_code", "peak_memory", "last", "log_tail", "contained", "seconds", "memory")
    return {
        "index": started.index,
        "micro_batch": started.micro_batch,
        "started": started.time,
        **{key: ended[key] for key in kept if ended.get(key) is not None},
    }
