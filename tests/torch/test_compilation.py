"""Compiled blocks in the training loop: they learn alike and resume bitwise equal, in float32 and in bfloat16."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest
import torch
from attrs import evolve
from torch import nn

from scalecore.api.module import Savings
from scalecore_torch.compute_policy import compile_trainer, settle
from scalecore_torch.testing.training import make_attempt_spec
from scalecore_torch.training import checkpoint
from scalecore_torch.training.compilation import CompilationFailed, compile_blocks, private_cache, warm_up
from scalecore_torch.training.policies import Policy
from scalecore_torch.training.training_loop import TrainingLoop

from .conftest import CONTEXT
from .test_training_loop import Watcher, weights, without_times

Build = Callable[..., TrainingLoop]
EPOCHS = {"epochs": 3}
needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.linear = nn.LayerNorm(16), nn.Linear(16, 16)

    def forward(self, x_BD: torch.Tensor) -> torch.Tensor:
        return x_BD + torch.tanh(self.linear(self.norm(x_BD)))


class Deep(nn.Module):
    """Three equal blocks, with dropout and a buffer around them."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.embedding, self.dropout = nn.Linear(3 * CONTEXT, 16), nn.Dropout(0.1)
        self.blocks = nn.ModuleList(Block() for _ in range(3))
        self.head = nn.Linear(16, 1)
        self.register_buffer("passes", torch.zeros(()))

    def repeated_blocks(self) -> list[nn.Module]:
        return list(self.blocks)

    def forward(self, x_BTF: torch.Tensor) -> torch.Tensor:
        if self.training:
            self.passes += 1
        x_BD = self.dropout(self.embedding(x_BTF.flatten(1)))
        for block in self.blocks:
            x_BD = block(x_BD)
        return self.head(x_BD)


def policy(precision: Literal["fp32", "bf16"] = "fp32", compile: Literal["off", "block"] = "off") -> Policy:  # noqa: A002
    return Policy(precision=precision, compile=compile, why={})


def of_policy(trainer: TrainingLoop, chosen: Policy, folder: Path) -> TrainingLoop:
    trainer.policy = chosen
    if chosen.compile == "block":
        seconds, problem = compile_trainer(trainer, chosen, folder=folder / "compiled", asked=False)
        assert (problem, seconds is not None) == (None, True)
    return trainer


@needs_compiler
@pytest.mark.filterwarnings("ignore")  # torch warns about its own compiler
def test_an_interrupted_compiled_trial_equals_the_uninterrupted_one_bit_for_bit(
    trainer_of: Build, tmp_path: Path
) -> None:
    """In bfloat16, stopped before a short batch: weights and curve are equal, and close to float32's."""
    chosen = policy("bf16", "block")
    whole = of_policy(trainer_of(Deep(), hyperparameters=EPOCHS), chosen, tmp_path)
    assert not (tmp_path / "compiled").exists()
    assert whole.run(Watcher()) == "completed"
    trainer = of_policy(trainer_of(Deep(), hyperparameters=EPOCHS), chosen, tmp_path)
    # After the last full batch of an epoch, so that the resumed trial starts with the short one.
    assert trainer.run(Watcher(stop_at=2 * trainer.steps_per_epoch - 1, folder=tmp_path)) == "stopped"
    found = checkpoint.load_newest([tmp_path])
    assert found is not None
    trainer = trainer_of(Deep(), hyperparameters=EPOCHS)
    kept = settle(make_attempt_spec(), trainer, earlier=found[0]["policy"])
    assert kept == chosen
    of_policy(trainer, kept, tmp_path).restore(found[0])
    assert trainer.run(Watcher()) == "completed"
    assert all(torch.equal(a, b) for a, b in zip(weights(trainer), weights(whole), strict=True))
    assert without_times(trainer.progress.curve) == without_times(whole.progress.curve)
    plain = trainer_of(Deep(), hyperparameters=EPOCHS)
    plain.run(Watcher())
    for line, other in zip(plain.progress.curve, whole.progress.curve, strict=True):
        assert line["val_loss"] == pytest.approx(other["val_loss"], abs=0.02)
    assert not all(torch.equal(a, b) for a, b in zip(weights(plain), weights(whole), strict=True))


def test_only_full_training_batches_use_compiled_blocks() -> None:
    """Shorter batches and all evaluations run in eager mode; the module's names do not change."""
    module, used = Deep(), []
    names = list(module.state_dict())
    written = [block.forward for block in module.blocks]
    compile_blocks(module, batch=8)
    for block in module.blocks:
        block.forward._compiled = lambda x_BD, block=block: used.append(1) or Block.forward(block, x_BD)
    assert list(module.state_dict()) == names
    assert [block.forward._written for block in module.blocks] == written
    x = torch.randn(8, CONTEXT, 3)
    module(x[:7])
    module.eval()(x)
    with torch.no_grad():
        module.train()(x)
    assert used == []
    module(x)
    assert used == [1, 1, 1]


def test_warm_up_restores_the_state() -> None:
    """Weights, buffers and random state are unchanged, and gradients are cleared."""
    module = Deep()
    x = torch.randn(8, CONTEXT, 3)
    before, generator = {k: v.clone() for k, v in module.state_dict().items()}, torch.get_rng_state()
    seconds = warm_up(lambda: module(x).square().mean(), module, device=torch.device("cpu"))
    assert seconds > 0
    assert all(torch.equal(before[name], tensor) for name, tensor in module.state_dict().items())
    assert torch.equal(torch.get_rng_state(), generator)
    assert all(parameter.grad is None for parameter in module.parameters())


@pytest.mark.filterwarnings("ignore")
def test_a_failing_compiler_is_reported_and_does_not_end_the_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reason contains the C++ compiler's error; an out-of-memory error is not treated as one."""
    broken = tmp_path / "broken-compiler"
    broken.write_text("#!/bin/sh\nexit 3\n")
    broken.chmod(0o755)
    import torch._inductor.config as settings

    monkeypatch.setattr(settings.cpp, "cxx", (str(broken),))
    monkeypatch.setattr(settings, "fx_graph_cache", False)
    module = Deep()
    compile_blocks(module, batch=8)
    with private_cache(tmp_path / "cache"), pytest.raises(CompilationFailed):
        warm_up(lambda: module(torch.randn(8, CONTEXT, 3)).mean(), module, device=torch.device("cpu"))

    def out_of_memory() -> torch.Tensor:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    with pytest.raises(RuntimeError, match="can't allocate"):
        warm_up(out_of_memory, module, device=torch.device("cpu"))


def test_a_policy_that_cannot_be_kept_is_a_warning(trainer_of: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    """A trial resumed without the compiler that it started with continues, with a warning."""
    monkeypatch.setenv("CXX", "no-such-compiler")
    warnings: list[str] = []
    kept = settle(make_attempt_spec(), trainer_of(Deep()), earlier=policy("bf16", "block").plain(), warnings=warnings)
    assert (kept.precision, kept.compile) == ("bf16", "off")
    assert warnings == [
        "continuing without compiled blocks, so results may differ in the last digits: no C++ compiler is found "
        "(no-such-compiler; set CXX to use another one)"
    ]


def test_the_content_of_the_trial_decides(trainer_of: Build) -> None:
    """The policy follows from the spec's settings, FLOPs, windows, epochs and the module's blocks."""
    long = make_attempt_spec(precision="bf16", compile="auto", flops=10**11)
    chosen = settle(long, trainer_of(Deep()))
    assert chosen.precision == "bf16"
    assert chosen.compile == ("block" if shutil.which("g++") else "off")
    assert settle(long, trainer_of()).why["compile"] == (
        "auto: the model declares no blocks (repeated_blocks or compile_blocks)"
    )
    again = evolve(long, activation_checkpointing=True)
    assert settle(again, trainer_of(Deep())).why["compile"] == (
        "auto: activation checkpointing is on, and compiled blocks would keep the activations"
    )


@needs_compiler
def test_savings_count_only_in_studies_with_that_rule(trainer_of: Build) -> None:
    """The spec contains the rule; without it the study is older than modules' savings."""

    class Saving(Deep):
        def compile_savings(self) -> Savings:
            return Savings(numbers=0)

    long = make_attempt_spec(compile="auto", flops=10**11)
    assert settle(evolve(long, compile_rule="savings"), trainer_of(Saving())).why["compile"] == (
        "auto: saves about 0 s in all steps, < 25 s to compile"
    )
    assert settle(long, trainer_of(Saving())).compile == "block"
    assert settle(evolve(long, compile_rule="savings"), trainer_of(Deep())).compile == "block"

    class Wrong(Deep):
        def compile_savings(self) -> int:
            return 3

    with pytest.raises(TypeError) as caught:
        settle(evolve(long, compile_rule="savings"), trainer_of(Wrong()))
    assert str(caught.value) == "Wrong.compile_savings() returned 3, which is not a Savings"


def test_bfloat16_learns_what_float32_learns(trainer_of: Build) -> None:
    """The losses of an epoch are close, the first logits differ, and the loss receives float32."""
    trainers = {}
    for precision in ("fp32", "bf16"):
        trainer = trainers[precision] = trainer_of(Deep(), hyperparameters={"epochs": 8})
        trainer.policy = policy(precision)  # type: ignore[arg-type]
        x_BTF, _ = trainer.train.batch(torch.arange(64))
        assert trainer.logits(x_BTF).dtype == torch.float32
        trainer.run(Watcher())
    plain, half = (trainers[name].progress.curve for name in ("fp32", "bf16"))
    assert plain[-1]["train_loss"] < plain[0]["train_loss"] - 0.003
    for line, other in zip(plain, half, strict=True):
        assert line["train_loss"] != other["train_loss"]
        assert line["train_loss"] == pytest.approx(other["train_loss"], abs=0.01)
        assert line["val_loss"] == pytest.approx(other["val_loss"], abs=0.02)


def test_compilers_keep_their_files_in_the_folder_of_the_attempt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Triton's too, which compiles for a GPU; the user's environment variables are restored afterwards."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "of the user")
    monkeypatch.delenv("TRITON_CACHE_DIR", raising=False)
    with private_cache(tmp_path / "cache"):
        places = [Path(os.environ[name]) for name in ("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR")]
    assert places == [tmp_path / "cache", tmp_path / "cache" / "triton"]
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == "of the user"
    assert "TRITON_CACHE_DIR" not in os.environ
