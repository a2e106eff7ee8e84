"""Limits of an attempt's share of a GPU."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from scalecore_torch.memory.cuda import CONTEXT
from scalecore_torch.memory.device_limits import FRACTION, gpu_fraction


@pytest.mark.parametrize(("device", "index"), [("cuda", 2), ("cuda:0", 0), ("cuda:1", 1)])
def test_the_cuda_allocator_is_limited_on_the_device_of_the_attempt(
    device: str, index: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torch's own check accepts the arguments, also for a device without an index, which is the current one."""
    import torch

    from scalecore_torch.memory.device_limits import contain

    received: list[tuple[float, int]] = []
    monkeypatch.setattr(torch.cuda.memory, "_lazy_init", lambda: None)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 2)
    monkeypatch.setattr(torch._C, "_cuda_setMemoryFraction", lambda *given: received.append(given), raising=False)
    assert contain(None, device=torch.device(device)) == ["CUDA allocator 90%"]
    assert received == [(FRACTION, index)]


@pytest.mark.parametrize(
    ("promised", "fraction", "text"),
    [(69 * 10**9, (69 * 10**9 - CONTEXT) / (149 * 10**9), "68.5 GB"), (148 * 10**9, FRACTION, "134.1 GB")],
)
def test_g40_a_trial_on_a_shared_gpu_is_limited_to_its_reservation(
    promised: int, fraction: float, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit excludes the context, which torch does not count, and never exceeds the share of a single trial."""
    import torch

    from scalecore_torch.memory.device_limits import contain

    received: list[tuple[float, int]] = []
    monkeypatch.setattr(torch.cuda.memory, "_lazy_init", lambda: None)
    monkeypatch.setattr(torch._C, "_cuda_setMemoryFraction", lambda *given: received.append(given), raising=False)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: SimpleNamespace(total_memory=149 * 10**9))
    contained = contain(None, device=torch.device("cuda:1"), gpu_limit=promised)
    assert contained == [f"CUDA allocator {text}"]
    assert received == [(pytest.approx(fraction), 1)]


def test_trials_that_share_a_gpu_without_reservations_have_equal_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four of them together have the share of a single trial."""
    import torch

    from scalecore_torch.memory.device_limits import contain

    received: list[tuple[float, int]] = []
    monkeypatch.setattr(torch.cuda.memory, "_lazy_init", lambda: None)
    monkeypatch.setattr(torch._C, "_cuda_setMemoryFraction", lambda *given: received.append(given), raising=False)
    assert contain(None, device=torch.device("cuda:0"), gpu_sharers=4) == ["CUDA allocator 22%"]
    assert received == [(FRACTION / 4, 0)]


def test_a_trial_has_some_memory_of_a_gpu_however_small_its_reservation() -> None:
    """A fraction of zero would fail every allocation."""
    assert gpu_fraction(0, total=10**11) == pytest.approx(CONTEXT // 10 / 10**11)
