from __future__ import annotations

from typing import Any

from scalecore.study.smoke_text import memory_warnings, smoke_text


def result(peak: float, **changes: Any) -> dict[str, Any]:
    return {
        "architecture": "d_model=8",
        "seconds": 1.24,
        "device": "cpu",
        "micro_batch": 8,
        "peak_memory": peak,
        "predicted_memory": 400e6,
        **changes,
    }


def test_the_smoke_step_shows_what_it_cost() -> None:
    """Seconds and memory of each shape, and the reason for a skipped one."""
    results = {
        "smallest": result(350e6),
        "largest": {"architecture": "d_model=64", "left_out": "9 GB are needed, 4 GB are free"},
    }
    assert smoke_text(results, seconds=3.8) == (
        "smoke step took 4 s: smallest d_model=8 1.2 s, 350 MB (predicted 400 MB); largest d_model=64 skipped: 9 GB "
        "are needed, 4 GB are free"
    )


def test_g40_memory_far_from_its_prediction_is_a_warning() -> None:
    """More than a quarter above or less than half of the prediction; nothing in between."""
    assert list(memory_warnings({"smallest": result(350e6), "largest": result(499e6)})) == []
    assert list(memory_warnings({"largest": result(510e6)})) == [
        "smoke step: the largest shape used 510 MB at micro-batch 8 (predicted 400 MB): trials may run out of memory"
    ]
    assert list(memory_warnings({"largest": result(190e6)})) == [
        "smoke step: the largest shape used 190 MB at micro-batch 8 (predicted 400 MB): micro-batches may be "
        "smaller than necessary"
    ]
    assert list(memory_warnings({"largest": result(9e9, predicted_memory=None)})) == []
