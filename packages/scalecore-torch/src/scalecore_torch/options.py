"""The options of the trainer `torch`, in addition to the keys of every trainer."""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge, Gt
from attrs import frozen

from scalecore.api.options import Imported, ImportPath, option
from scalecore_torch.loss_options import Loss


@frozen(kw_only=True)
class TorchOptions:
    """Keys of `training:` that the trainer `torch` reads."""

    effective_batch: Annotated[int, Ge(1)] = option(256, help="Windows per optimizer step.")
    micro_batch: Annotated[int, Ge(1)] | Literal["auto"] = option(
        "auto", help="Windows per forward pass; `auto` selects the largest power of two that fits in memory."
    )
    loss: Loss | Imported | None = option(
        None,
        help="Training loss, selected by `kind`; `null` selects the task's default: `bce`, `cross_entropy` or `mse`. "
        "`val_loss` always uses the default. To train with your own loss, set `use` to its import path and add its "
        "options beside `use`.",
        before=None,
    )
    metrics: list[ImportPath] = option(
        factory=list,
        help="Import paths of your own metric functions, computed after each epoch in addition to the task's "
        "metrics. A metric has the name of its function.",
        before=[],
    )
    optimizer: Imported | None = option(
        None,
        help="Optimizer to use instead of AdamW, such as `{use: torch.optim:SGD, momentum: 0.9}`, with its options "
        "beside `use`.",
        before=None,
    )
    activation_checkpointing: Literal["auto", "off", "on"] = option(
        "auto",
        help="Store only the inputs of the model's repeated blocks for the backward pass and recompute the rest: "
        "less memory, about a third more time, identical results. `auto` enables this only if even a micro-batch of "
        "1 does not fit otherwise.",
    )
    schedule: Literal["cosine", "linear", "constant"] | ImportPath = option(
        "cosine",
        help="Learning rate after the warm-up: `cosine` or `linear` decay to zero after the last step, or "
        "`constant`. Your own function, given by import path, defines the warm-up too.",
    )
    gradient_clip: Annotated[float, Gt(0)] | None = option(1.0, help="Maximum gradient norm; `null` disables clipping.")
    precision: Literal["auto", "fp32", "bf16"] = option(
        "auto",
        help="Precision of matrix products in training. Weights and losses are always float32. Evaluations are "
        "float32 too, with TF32 products after training in bfloat16 on a GPU. `auto` selects bfloat16 on a GPU that "
        "supports it, float32 otherwise.",
        before="fp32",
    )
    compile: Literal["auto", "off", "block"] = option(
        "auto",
        help="Compile the repeated blocks of the model before the first step. `auto` does so if a compiler is found "
        "and the trial is long enough to save time.",
        before="off",
    )
    launches: Literal["plain", "few", "graph"] = option(
        "plain",
        help="How a GPU runs the kernels of a training step. `few` launches fewer kernels: weights are cast to "
        "bfloat16 all at once, and compiled code combines small kernels. `graph` captures the step of a full batch "
        "as a CUDA graph and replays it. Neither has been measured to be faster on a GPU yet.",
        before="plain",
    )
