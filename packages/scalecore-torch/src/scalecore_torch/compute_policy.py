"""Chooses how an attempt computes, before its first step: precision, compiled blocks and library."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from attrs import evolve

from scalecore.api.errors import RefusedError
from scalecore.api.files import is_disk_error
from scalecore.api.plan_report import ProductsReport
from scalecore_torch.spec import TorchSpec
from scalecore_torch.training.bf16_weights import same_pass
from scalecore_torch.training.compilation import (
    CompilationFailed,
    block_count,
    compile_blocks,
    compile_savings,
    private_cache,
    warm_up,
)
from scalecore_torch.training.compile_choice import Work
from scalecore_torch.training.policies import Policy, choose, missing_compiler
from scalecore_torch.training.product_library import use_library
from scalecore_torch.training.shared_blocks import SharedBlocks
from scalecore_torch.training.training_loop import TrainingLoop


def set_threads(threads: int) -> None:
    """Set torch's threads for each operation, and run one operation at a time.

    Environment variables set by the executor limit all other libraries to one thread.
    """
    torch.set_num_threads(threads)
    if torch.get_num_interop_threads() != 1:
        torch.set_num_interop_threads(1)


def settle(
    spec: TorchSpec,
    trainer: TrainingLoop,
    *,
    earlier: Mapping[str, Any] | None = None,
    warnings: list[str] | None = None,
) -> Policy:
    """The policy of this attempt: the policy of the `earlier` one that it resumes, or a new choice.

    Adds to `warnings` what the earlier attempt used and this machine lacks. Raises `RefusedError` if the experiment
    requires what this machine or the model does not support.
    """
    device = trainer.device.type
    problem = missing_compiler(device)
    if spec.activation_checkpointing:
        problem = "activation checkpointing is on, and compiled blocks would keep the activations"
    if earlier is not None:
        policy = Policy(**earlier)
        if policy.compile == "block" and problem is not None:
            if warnings is not None:
                warnings.append(
                    f"continuing without compiled blocks, so results may differ in the last digits: {problem}"
                )
            policy = evolve(policy, compile="off", why={**policy.why, "compile": problem})
        return _with_products(policy, trainer, wanted=spec.products, warnings=warnings)
    blocks = block_count(trainer.module)
    if len(trainer.train) < trainer.plan.effective_batch and problem is None:
        problem = "there are fewer training windows than the effective batch"
    policy = choose(
        precision=spec.precision,
        compile=spec.compile,
        launches=spec.launches,
        device=device,
        bf16_hardware=_has_bf16(trainer.device),
        compiler_problem=problem,
        work=Work(
            flops=spec.flops,
            windows=len(trainer.train),
            epochs=trainer.epochs,
            effective_batch=trainer.plan.effective_batch,
            blocks=blocks,
            savings=compile_savings(trainer.module) if spec.compile_rule == "savings" else None,
        ),
    )
    if policy.launches == "few" and policy.precision == "bf16":
        x_BTF, _ = trainer.train.batch(torch.arange(min(2, len(trainer.train)), device=trainer.device))
        if not same_pass(trainer.module.train(), x_BTF):
            why = "casting weights at once would change the last bits of this model's steps"
            policy = evolve(policy, launches="plain", why={**policy.why, "launches": why})
    return _with_products(policy, trainer, wanted=spec.products, warnings=warnings)


def _with_products(
    policy: Policy, trainer: TrainingLoop, *, wanted: ProductsReport | None, warnings: list[str] | None
) -> Policy:
    """The policy with the library of the trial's float32 products, which the module uses from then on.

    The library is the earlier attempt's, else the one `wanted` by the study; None in studies older than the choice.
    """
    if trainer.device.type != "cpu":
        return policy
    if policy.products is not None:
        wanted = ProductsReport(name=policy.products, why=policy.why["products"])
    used = use_library(trainer.module, None if wanted is None else wanted.name)
    if used is None:
        return policy
    if wanted is None:
        why = "the study is older than this choice: oneDNN with AVX-512"
    elif used == wanted.name:
        why = wanted.why
    else:
        why = f"{wanted.name} was chosen ({wanted.why}), but this processor or torch does not support it"
        if warnings is not None:
            warnings.append(f"float32 products are computed by {used}, so results may differ in the last digits: {why}")
    return evolve(policy, products=used, why={**policy.why, "products": why})


def compile_trainer(
    trainer: TrainingLoop, policy: Policy, *, folder: Path, asked: bool, shared: Path | None = None
) -> tuple[float | None, str | None]:
    """Compile the blocks of the trainer's module in the policy's precision, with the compiler's files in `folder`.

    Blocks for a CPU are loaded from the folder `shared` if another attempt compiled them, and stored there otherwise.

    Returns the seconds and None; after a failure None and the reason: the trainer must then be rebuilt. Raises
    `RefusedError` instead if compilation was `asked` for explicitly.
    """
    batch = trainer.plan.micro_batch
    trainer.policy = policy
    compile_blocks(trainer.module, batch=batch, joined=policy.launches == "few")
    x_BTF, _ = trainer.train.batch(torch.arange(batch, device=trainer.device))

    def step() -> torch.Tensor:
        trainer.module.train()
        with trainer.cast_weights():
            return trainer.logits(x_BTF).square().mean()

    # Files for a GPU contain the path of their folder, and sharing them has not been tested yet.
    blocks = SharedBlocks.of_this_machine(shared) if shared is not None and trainer.device.type == "cpu" else None
    try:
        with private_cache(folder, shared=blocks):
            return warm_up(step, trainer.module, device=trainer.device), None
    except CompilationFailed as error:
        if is_disk_error(error):
            raise  # without compiled blocks the trial would have another result
        if asked:
            raise RefusedError(f"training.compile: block cannot be used: compiling failed: {error}") from error
        return None, f"compiling failed: {error}"


def _has_bf16(device: torch.device) -> bool:
    """Whether the device has instructions for bfloat16 products."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu":
        # Private to torch, so optional: without them the record only has less detail.
        names = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
        return any(bool(getattr(torch.cpu, name, lambda: False)()) for name in names)
    return True
