"""Logits of whole splits: in which precision a GPU computes them, and how they reach the CPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from scalecore_torch.training import inference
from scalecore_torch.training.inference import all_logits, float32_products
from scalecore_torch.training.training_loop import TrainingLoop


def tf32() -> dict[str, Any]:
    """What torch would compute float32 in on a GPU, by both of its interfaces."""
    cuda, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    return {
        "products": (cuda.fp32_precision == "tf32", cuda.allow_tf32, torch.get_float32_matmul_precision() == "high"),
        "convolutions": (cudnn.conv.fp32_precision == "tf32", cudnn.allow_tf32),  # type: ignore[attr-defined]
    }


@pytest.mark.parametrize("evaluation", ["fp32", "tf32"])
def test_a_gpu_evaluates_in_what_the_policy_says(evaluation: Any) -> None:
    """TF32 for products and convolutions, or for none of them, and afterwards as before, also where that fails.

    No other device is asked for anything. A warning of torch that this is deprecated would be an error here.
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


def test_what_a_model_set_for_itself_is_there_afterwards() -> None:
    """A family may take TF32 for its training: an evaluation in float32 is none of it, and leaves it as it was."""
    torch.backends.cuda.matmul.fp32_precision = "tf32"
    try:
        with float32_products("fp32", torch.device("cuda")):
            assert torch.backends.cuda.matmul.fp32_precision == "ieee"
        assert torch.backends.cuda.matmul.fp32_precision == "tf32"
    finally:
        torch.set_float32_matmul_precision("highest")


@pytest.mark.parametrize("size", [1, 100, 10**9])
def test_logits_are_fetched_in_pieces_of_limited_size(
    size: int, trainer_of: Callable[..., TrainingLoop], monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are the same in the same order whatever the size, of all windows or of the first ones."""
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
