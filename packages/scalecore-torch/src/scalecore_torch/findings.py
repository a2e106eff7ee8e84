"""What a user should know of this machine before a study trains in torch, found without importing it."""

from __future__ import annotations

from collections.abc import Iterator

from scalecore.api.plan_report import ProductsReport
from scalecore.api.readings import Device, Finding
from scalecore_torch.training.policies import missing_compiler
from scalecore_torch.user_code import UserCode


def products_findings(device: str, products: ProductsReport | None) -> list[Finding]:
    """Which library computes the study's float32 products where `device` may be the CPU."""
    if device not in ("auto", "cpu"):
        return []
    text = "onednn where it has AVX-512, as when the study began"
    if products is not None:
        text = f"{products.name} ({products.why})"
    message = f"float32 matrix products on a CPU by {text}, where the model offers the choice"
    return [Finding(level="ok", subject="products", message=message)]


def compile_findings(asked: str, *, device: Device) -> Iterator[Finding]:
    """Nothing where `training.compile` is off, or nothing is missing for the device; torch is not imported.

    What is asked for by name and cannot be is refused.
    """
    problem = missing_compiler(device)
    if asked == "off" or problem is None:
        return
    remedy = "install what is missing, or set training.compile to off"
    if asked == "block":
        message = f"training.compile: block is asked for, but {problem}"
        yield Finding(level="refuse", subject="compiling", message=message, remedy=remedy)
    elif device != "mps":  # nothing can be installed there
        message = f"nothing is compiled, which long trials would gain from: {problem}"
        yield Finding(level="warn", subject="compiling", message=message, remedy=remedy)


def optimizer_findings(own: UserCode) -> list[Finding]:
    """What is assumed of an optimizer by import path, where its state could not be measured."""
    if own.optimizer is None or own.optimizer_state is not None:
        return []
    text = f"{own.optimizer.use.label} makes no step on a CPU: closed forms assume the state of AdamW until a trace"
    return [Finding(level="warn", subject="optimizer", message=text)]
