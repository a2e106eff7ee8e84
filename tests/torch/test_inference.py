"""Logits of whole splits: their precision on a GPU, and their transfer to the CPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from scalecore_torch.training import inference
from scalecore_torch.training.inference import all_logits, float32_products
from scalecore_torch.training.training_loop import TrainingLoop


def tf32() -> dict[str, Any]:
    """The precision of torch's float32 products on a GPU, by both of its interfaces."""
    cuda, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    return {
        "products": (cuda.fp32_precision == "tf32", cuda.allow_tf32, torch.get_float32_matmul_precision() == "high"),
        "convolutions": (cudnn.conv.fp32_precision == "tf32", cudnn.allow_tf32),  # type: ignore[attr-defined]
    }


@pytest.mark.parametrize("evaluation", ["fp32", "tf32"])
def test_a_gpu_evaluates_in_the_precision_of_the_policy(evaluation: Any) -> None:
    """TF32 applies to products and convolutions or to neither, and the settings are restored, also after an error.

    Other devices are not affected. A deprecation warning of torch would be an error here.
    """
    before, within = tf32(), evaluation == "tf32"
    with float32_products(evaluation, torch.device("cpu")):
        assert tf32() == before
    found = {}

    def fails() -> None:
        found.update(tf32())
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), float32_products(evaluation, torch.device("cuda")):
        fails()
    assert found == {"products": (within,) * 3, "convolutions": (within,) * 2}
    assert tf32() == before


def test_a_models_own_setting_is_restored() -> None:
    """A family may use TF32 in training: an evaluation in float32 does not, and restores the setting."""
    torch.backends.cuda.matmul.fp32_precision = "tf32"
    try:
        with float32_products("fp32", torch.device("cuda")):
            assert torch.backends.cuda.matmul.fp32_precision == "ieee"
        assert torch.backends.cuda.matmul.fp32_precision == "tf32"
    finally:
        torch.set_float32_matmul_precision("highest")


@pytest.mark.parametrize("size", [1, 100, 10**9])
def test_logits_are_fetched_in_chunks_of_limited_size(
    size: int, trainer_of: Callable[..., TrainingLoop], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their values and order do not depend on the size, for all windows or for the first ones."""
    trainer = trainer_of()
    source = trainer.train
    with torch.inference_mode():
        parts = [trainer.module.eval()(source.batch(part)[0]) for part in torch.arange(len(source)).split(7)]
    monkeypatch.setattr(inference, "FETCHED_FROM", size)
    found = all_logits(trainer.module, source, batch=7)
    assert found is not None
    assert torch.equal(found, torch.cat(parts))
    first = all_logits(trainer.module, source, batch=7, limit=10)
    assert first is not None
    assert torch.allclose(first, found[:10], atol=1e-6)
    assert first.shape == (10, 1)
    assert all_logits(trainer.module, source, batch=7, on_batch=lambda number: number < 3) is None
