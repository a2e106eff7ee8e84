"""Host memory of trials on a GPU."""

from __future__ import annotations

from pathlib import Path

from scalecore.api.memory_forecast import EndedAttempt, ForecastContext
from scalecore.store.asked_trial import Attempt
from scalecore.store.event_lines import event_of
from scalecore.store.events import AttemptEnded, AttemptStarted
from scalecore.study.dispatch import measured_attempt
from scalecore_torch.memory.forecast import TorchForecast
from scalecore_torch.memory.host_memory import HOST_MEMORY
from scalecore_torch.options import TorchOptions


def test_g40_host_memory_of_trials_on_cuda_is_learned_from_their_peaks(tmp_path: Path) -> None:
    """It is an estimate at first, then the largest measured rest beside the weights; trials on the CPU do not count."""

    def attempt(
        group: str | None, peak: int | None, *, parameters: int = 0, kind: str = "completed"
    ) -> list[EndedAttempt]:
        memory = None if group is None else {"group": group, "floor": 16 * parameters}
        one = {"number": 0, "index": 0}
        started = event_of(AttemptStarted, **one, micro_batch=1, predicted_memory=1, memory=memory)
        ended = event_of(AttemptEnded, **one, **{"class": kind}, peak_memory=peak)
        found = measured_attempt(Attempt(started=started, ended=ended))
        return [] if found is None else [found]

    def forecast() -> TorchForecast:
        context = ForecastContext(folder=tmp_path, registry={}, traces=False, model={}, code=dict)
        return TorchForecast(context, TorchOptions())

    million = 1_000_000
    one, none = forecast(), forecast()
    one.learn([*attempt("cpu, fp32", 10**12), *attempt("cuda, bf16", 10**12, kind="failed"), *attempt("cuda", None)])
    assert one.host_memory(million) == HOST_MEMORY + 4 * million
    none.learn(attempt(None, None))
    assert none.host_memory(0) == HOST_MEMORY
    one.learn([*attempt("cuda, bf16", 10**9, parameters=million), *attempt("cuda, bf16", 3 * 10**8)])
    assert one.host_memory(2 * million) == 10**9 + 4 * million
