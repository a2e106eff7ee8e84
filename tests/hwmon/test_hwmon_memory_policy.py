from __future__ import annotations

from scalecore.api.readings import Demand, Finding, Reading, Verdict
from scalecore.cgroups import MemoryLimit
from scalecore_hwmon.memory_policy import MemoryBudget, TrialMemory, admission, findings, judge
from scalecore_hwmon.options import MemoryOptions

GB = 10**9
PHYSICAL = "physical memory"


def budget(total_gb: float = 32.0, *, limit_gb: float | None = None, source: str = PHYSICAL) -> MemoryBudget:
    machine = MemoryLimit(bytes=int(total_gb * GB), source=source)
    return MemoryBudget.of(MemoryOptions(limit_gb=limit_gb), machine)


def demand(memory_gb: float, *, micro_batch: int = 64, device: str = "cpu") -> Demand:
    return Demand(memory=int(memory_gb * GB), micro_batch=micro_batch, device=device)  # type: ignore[arg-type]


def preflight(available_gb: float, wanted: Demand | None = None, *, total_gb: float = 32.0) -> list[Finding]:
    return findings(budget(total_gb), MemoryOptions(), available=int(available_gb * GB), source=PHYSICAL, demand=wanted)


def process(trial: int, used_gb: float | None) -> Reading:
    value = None if used_gb is None else used_gb * GB
    reason = "process 7 has ended" if value is None else None
    return Reading(quantity="process_memory", source="process tree", unit="B", value=value, reason=reason, trial=trial)


def machine(quantity: str, value: float | None, unit: str = "B") -> Reading:
    reason = "not counted here" if value is None else None
    return Reading(quantity=quantity, source=PHYSICAL, unit=unit, value=value, reason=reason)


def decide(*readings: Reading, limits: MemoryBudget | None = None, **predicted: float) -> Verdict:
    expected = {int(name[1:]): amount * GB for name, amount in predicted.items()}
    return judge(limits or budget(), readings, predicted=expected, thrashing_since=None, now=0.0)[0]


def test_the_reserve_is_a_tenth_and_at_least_two_gigabytes() -> None:
    """The user's limit caps the trials; the reserve depends on the machine."""
    assert budget(64.0).reserve == 6_400_000_000
    assert budget(8.0).reserve == 2 * GB
    own = budget(64.0, limit_gb=10.0)
    assert own.limit == MemoryLimit(bytes=10 * GB, source="limit_gb of the memory monitor")
    assert own.reserve == 6_400_000_000
    assert own.ceiling == 8.5 * GB
    assert budget(8.0, limit_gb=10.0).limit.source == PHYSICAL


def test_g40_a_study_is_refused_below_8_gb_free_and_warned_below_16() -> None:
    """The message contains the free memory, its source and a remedy."""
    assert preflight(7.9) == [
        Finding(
            level="refuse",
            subject="memory",
            message="only 7.9 GB free (physical memory), less than 8 GB",
            remedy="close other programs, raise the limit of the container, or lower min_free_gb of the memory monitor",
        )
    ]
    (finding,) = preflight(15.9)
    assert (finding.level, finding.message) == ("warn", "only 15.9 GB free (physical memory), less than 16 GB")
    (finding,) = preflight(16.0)
    assert finding.level == "ok"
    assert finding.message == "16.0 GB free (physical memory); a trial may use 27.2 GB of 32.0 GB (physical memory)"


def test_g40_the_largest_trial_is_compared_before_the_study() -> None:
    """A trial that never fits is refused at micro-batch 1, else a warning. One that must wait is a warning."""
    never = preflight(20.0, demand(30.0, micro_batch=1))[1]
    assert never.level == "refuse"
    assert never.message == (
        "the largest trial needs 34.5 GB at micro-batch 1, more than a trial may use: "
        "27.2 GB of 32.0 GB (physical memory)"
    )
    assert preflight(20.0, demand(30.0, micro_batch=2))[1].level == "warn"
    later = preflight(20.0, demand(18.0))[1]
    assert later.level == "warn"
    assert later.message == (
        "the largest trial needs 20.7 GB at micro-batch 64, but only 16.8 GB are free beyond the reserve: it waits"
    )
    assert preflight(20.0, demand(10.0))[1].level == "ok"
    assert len(preflight(20.0, demand(1000.0, device="cuda"))) == 1


def on_cuda(host_gb: float) -> Demand:
    """A trial that needs more GPU memory than the machine's memory."""
    return Demand(memory=1000 * GB, micro_batch=64, device="cuda", host_memory=int(host_gb * GB))


def test_g40_a_trial_on_a_gpu_needs_some_of_the_machines_memory() -> None:
    """That memory counts in preflight and admission, and does not depend on the micro-batch."""
    never = preflight(20.0, on_cuda(30.0))[1]
    assert (never.level, never.message) == (
        "refuse",
        "the largest trial needs 34.5 GB of the machine's memory besides GPU memory, more than a trial may use: "
        "27.2 GB of 32.0 GB (physical memory)",
    )
    assert preflight(20.0, on_cuda(2.0))[1].level == "ok"
    running = [TrialMemory(used=0.5 * GB, predicted=2.0 * GB)] * 3
    answer = admission(budget(), on_cuda(2.0), available=8.0 * GB, source=PHYSICAL, running=running[:1])
    assert (answer.action, answer.limit) == ("admit", int(budget().allowed))
    answer = admission(budget(), on_cuda(2.0), available=8.0 * GB, source=PHYSICAL, running=running)
    assert answer.reason == (
        "predicted 2.0 GB of the machine's memory, 2.3 GB with the margin: 0 MB available now; "
        "8.0 GB free (physical memory), 3.2 GB of it kept as reserve, 5.4 GB reserved for running trials"
    )


def admit(memory_gb: float, *running: TrialMemory, available_gb: float = 30.0, limit_gb: float | None = None) -> str:
    answer = admission(
        budget(limit_gb=limit_gb), demand(memory_gb), available=available_gb * GB, source=PHYSICAL, running=running
    )
    assert answer.reason or answer.action == "admit"
    return answer.action


def test_g40_a_trial_is_admitted_by_its_prediction_with_a_margin() -> None:
    """The trial is admitted, waits for memory in use, or is refused because it can never fit."""
    assert admit(20.0) == "admit"
    assert admit(20.0, available_gb=26.3) == "admit"
    assert admit(20.0, available_gb=26.1) == "wait"
    assert admit(23.6) == "wait"
    assert admit(23.6, available_gb=31.0) == "admit"
    assert admit(23.7, available_gb=31.0) == "refuse"
    assert admit(2.0, limit_gb=3.0) == "admit"
    assert admit(2.3, limit_gb=3.0) == "refuse"


def test_g40_memory_that_running_trials_may_still_need_is_reserved() -> None:
    """Two trials that fit one at a time do not start together just because the first has not grown yet."""
    small = TrialMemory(used=1.0 * GB, predicted=15.0 * GB)
    grown = TrialMemory(used=16.0 * GB, predicted=15.0 * GB)
    unknown = TrialMemory(used=None, predicted=15.0 * GB)
    assert admit(15.0, available_gb=29.0) == "admit"
    assert admit(15.0, small, available_gb=28.0) == "wait"
    assert admit(15.0, grown, available_gb=14.0) == "wait"
    assert admit(15.0, unknown) == "wait"
    assert admit(7.0, small, available_gb=28.0) == "admit"


def test_a_waiting_trial_has_a_reason() -> None:
    """The reason names the binding limit: the machine with its reserve, or the limit with the running trials' use."""
    small = TrialMemory(used=1.0 * GB, predicted=15.0 * GB)
    by_machine = admission(budget(), demand(15.0), available=28.0 * GB, source=PHYSICAL, running=[small])
    assert by_machine.reason == (
        "predicted 15.0 GB at micro-batch 64, 17.2 GB with the margin: 8.6 GB available now; "
        "28.0 GB free (physical memory), 3.2 GB of it kept as reserve, 16.2 GB reserved for running trials"
    )
    tight = budget(limit_gb=10.0)
    by_limit = admission(
        tight, demand(6.0), available=28.0 * GB, source=PHYSICAL, running=[TrialMemory(used=3.0 * GB, predicted=None)]
    )
    assert by_limit.reason == (
        "predicted 6.0 GB at micro-batch 64, 6.9 GB with the margin: 5.5 GB available now; "
        "3.0 GB of 8.5 GB used by running trials"
    )


def test_g40_a_trial_beyond_its_share_is_stopped_as_out_of_memory() -> None:
    """The verdict contains the trial, the guard and the sizes."""
    assert decide(process(7, 27.1), machine("memory_available", 4.0 * GB)).action == "go_on"
    assert decide(process(7, 27.3), machine("memory_available", 4.0 * GB)) == Verdict(
        action="stop_trial",
        reason="trial 7 uses 27.3 GB, more than 85 % of 32.0 GB (physical memory)",
        guard="G40",
        trial=7,
        out_of_memory=True,
    )


def test_g40_of_several_trials_the_one_beyond_its_prediction_is_stopped() -> None:
    """Each trial is within the limit but not their sum: the one above its prediction is stopped, not the largest."""
    verdict = decide(process(3, 16.0), process(4, 12.0), t3=16.0, t4=5.0)
    assert (verdict.action, verdict.trial) == ("stop_trial", 4)
    assert verdict.reason == (
        "2 trials use 28.0 GB together, more than 85 % of 32.0 GB (physical memory); "
        "trial 4 uses 12.0 GB, predicted 5.0 GB"
    )


def test_g40_the_largest_trial_is_stopped_before_the_machine_runs_out() -> None:
    """The remaining memory decides, even if other programs use it."""
    verdict = decide(process(1, 3.0), process(2, 5.0), machine("memory_available", 0.4 * GB))
    assert (verdict.action, verdict.trial, verdict.out_of_memory) == ("stop_trial", 2, True)
    assert verdict.reason == "only 400 MB of memory left (physical memory), less than 500 MB; trial 2 uses 5.0 GB"
    assert decide(machine("memory_available", 0.4 * GB)).action == "go_on"


def test_g41_a_reading_without_a_value_stops_nothing() -> None:
    """An ended process or a missing counter is not treated as a number."""
    missing = [process(7, None), machine("memory_available", None), machine("memory_pressure", None, "%")]
    assert decide(*missing) == Verdict(action="go_on")
    assert decide(process(8, 30.0), *missing).trial == 8


def replay(seconds: int, pressure: float, *, used_gb: float = 20.0, relief_at: int | None = None) -> list[str]:
    since: float | None = None
    actions: list[str] = []
    for second in range(seconds):
        now = 0.0 if second == relief_at else pressure
        readings = [process(5, used_gb), machine("memory_pressure", now, "%"), machine("swap_in", None, "B/s")]
        verdict, since = judge(budget(), readings, predicted={}, thrashing_since=since, now=float(second))
        actions.append(verdict.action if verdict.reason is None or verdict.action != "go_on" else "told")
    return actions


def test_g40_thrashing_for_half_a_minute_stops_a_trial() -> None:
    """Resident memory stays constant while a machine swaps, so pressure decides. An interruption restarts the count."""
    assert replay(31, 15.0) == ["go_on"] * 30 + ["stop_trial"]
    assert replay(60, 15.0, relief_at=29) == ["go_on"] * 60
    assert replay(60, 9.0) == ["go_on"] * 60


def test_a_small_trial_is_not_stopped_for_the_thrashing_of_others() -> None:
    """Stopping it would not help, so it is only reported."""
    assert replay(32, 15.0, used_gb=2.0) == ["go_on"] * 30 + ["told"] * 2


def test_g40_swapping_in_counts_as_thrashing_where_there_is_no_pressure() -> None:
    """The reason contains the rate."""
    readings = [process(5, 20.0), machine("swap_in", 80e6, "B/s"), machine("memory_pressure", None, "%")]
    verdict, since = judge(budget(), readings, predicted={5: 8.0 * GB}, thrashing_since=10.0, now=41.0)
    assert since == 10.0
    assert (verdict.action, verdict.trial) == ("stop_trial", 5)
    assert verdict.reason == (
        "the machine has been thrashing for 31 s (swap_in 80 MB/s); trial 5 uses 20.0 GB, predicted 8.0 GB"
    )
