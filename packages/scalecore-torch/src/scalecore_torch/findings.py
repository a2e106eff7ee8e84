"""Checks of this machine before a study trains in torch, without importing torch."""

from __future__ import annotations

from collections.abc import Iterator

from scalecore.api.plan_report import ProductsReport
from scalecore.api.readings import Device, Finding
from scalecore_torch.training.policies import missing_compiler
from scalecore_torch.user_code import UserCode


def products_findings(device: str, products: ProductsReport | None) -> list[Finding]:
    """The library that computes the study's float32 products, if `device` may be the CPU."""
    if device not in ("auto", "cpu"):
        return []
    text = "onednn with AVX-512, as when the study began"
    if products is not None:
        text = f"{products.name} ({products.why})"
    message = f"float32 matrix products on a CPU: {text}, if the model supports the choice"
    return [Finding(level="ok", subject="products", message=message)]


def compile_findings(asked: str, *, device: Device) -> Iterator[Finding]:
    """Yield nothing if `training.compile` is off or nothing is missing for the device; torch is not imported.

    `block` is refused if it cannot be used.
    """
    problem = missing_compiler(device)
    if asked == "off" or problem is None:
        return
    remedy = "install what is missing, or set training.compile to off"
    if asked == "block":
        message = f"training.compile: block cannot be used: {problem}"
        yield Finding(level="refuse", subject="compiling", message=message, remedy=remedy)
    elif device != "mps":  # nothing to install there
        message = f"blocks are not compiled, so long trials may take longer: {problem}"
        yield Finding(level="warn", subject="compiling", message=message, remedy=remedy)


def optimizer_findings(own: UserCode) -> list[Finding]:
    """A warning about an optimizer by import path if its state could not be measured."""
    if own.optimizer is None or own.optimizer_state is not None:
        return []
    text = (
        f"{own.optimizer.use.label} cannot step on a CPU: memory estimates assume the state of AdamW until a step is "
        "traced"
    )
    return [Finding(level="warn", subject="optimizer", message=text)]
