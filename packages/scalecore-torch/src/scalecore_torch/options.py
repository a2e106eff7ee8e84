"""The options of the trainer `torch`, beside the keys that every trainer has."""

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
        "auto", help="Windows per forward pass; `auto` takes the largest power of two whose predicted memory fits."
    )
    loss: Loss | Imported | None = option(
        None,
        help="What is minimised, by `kind`; `null` is the task's own: `bce`, `cross_entropy` or `mse`. `val_loss` is "
        "always the task's own. A loss of your own is given by `use`, its options stand beside it.",
        before=None,
    )
    metrics: list[ImportPath] = option(
        factory=list,
        help="Functions of your own, measured after each epoch beside the task's metrics; each is named as its "
        "function is.",
        before=[],
    )
    optimizer: Imported | None = option(
        None,
        help="An optimizer instead of AdamW, such as `{use: torch.optim:SGD, momentum: 0.9}`; its options stand beside "
        "`use`.",
        before=None,
    )
    activation_checkpointing: Literal["auto", "off", "on"] = option(
        "auto",
        help="Keep only the inputs of the model's repeated blocks for the backward pass and compute the rest again: "
        "less memory, about a third more time, the same results. `auto` does it where even a micro-batch of 1 does not "
        "fit otherwise.",
    )
    schedule: Literal["cosine", "linear", "constant"] | ImportPath = option(
        "cosine",
        help="Learning rate after the warm-up: cosine or linear decay to zero after the last step, or constant; or a "
        "function of your own, which has the warm-up too.",
    )
    gradient_clip: Annotated[float, Gt(0)] | None = option(
        1.0, help="Largest norm of the gradient; `null` for no clipping."
    )
    precision: Literal["auto", "fp32", "bf16"] = option(
        "auto",
        help="What matrix products of the training are computed in; weights and losses are always float32, and so are "
        "evaluations, after bfloat16 on a GPU with TF32 products. `auto` takes bfloat16 on a GPU that has it, else "
        "float32.",
        before="fp32",
    )
    compile: Literal["auto", "off", "block"] = option(
        "auto",
        help="Compile the repeated blocks of the model before the first step; `auto` does so where it pays over the "
        "length of the trial and a compiler is found.",
        before="off",
    )
    launches: Literal["plain", "few", "graph"] = option(
        "plain",
        help="`few` makes a step on a GPU of fewer kernels: weights are cast to bfloat16 all at once, and compiled "
        "code joins small kernels. `graph` captures the step of a full batch as a CUDA graph, which the host launches "
        "at once. No GPU has shown yet that either pays.",
        before="plain",
    )
