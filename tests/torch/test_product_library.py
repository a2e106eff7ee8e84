"""The library of float32 products follows from the processor when a study begins; a resumed trial keeps its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from scalecore.api.plan_report import ProductsReport
from scalecore_torch.compute_policy import settle
from scalecore_torch.spec import TorchSpec
from scalecore_torch.testing.training import make_attempt_spec
from scalecore_torch.training.policies import Policy
from scalecore_torch.training.product_library import Library, choose_library, use_library
from scalecore_torch.training.training_loop import TrainingLoop

from .conftest import CONTEXT

Build = Callable[..., TrainingLoop]
WIDE = "fpu sse2 avx2 avx512f avx512dq avx512cd avx512bw avx512vl"


def cpuinfo(maker: str, flags: str) -> str:
    one = f"processor\t: 0\nvendor_id\t: {maker}\nmodel name\t: A: B\nflags\t\t: {flags}\npower management:\n"
    return f"{one}\n{one}\n"


@pytest.mark.parametrize(
    ("text", "name", "why"),
    [
        (
            cpuinfo("GenuineIntel", WIDE),
            "torch",
            "GenuineIntel with AVX-512: MKL uses its full width with less overhead per call",
        ),
        (
            cpuinfo("AuthenticAMD", WIDE),
            "onednn",
            "AuthenticAMD with AVX-512: oneDNN uses its full width, MKL half of it",
        ),
        (cpuinfo("AuthenticAMD", "fpu sse2 avx2"), "torch", "AuthenticAMD without AVX-512: MKL is as wide as oneDNN"),
        (cpuinfo("GenuineIntel", "sse2 avx2"), "torch", "GenuineIntel without AVX-512: MKL is as wide as oneDNN"),
        (cpuinfo("AuthenticAMD", "sse2 avx512f"), "torch", "AuthenticAMD without AVX-512: MKL is as wide as oneDNN"),
        (
            "processor : 0\nCPU implementer : 0x41\nFeatures : fp asimd\n",
            "torch",
            "not an x86 processor: torch's default library",
        ),
        ("", "torch", "not an x86 processor: torch's default library"),
    ],
)
def test_vendor_and_vector_width_decide(text: str, name: Any, why: str) -> None:
    """MKL on Intel, oneDNN on others with the parts of AVX-512 that torch needs, else torch's default; with the
    reason."""
    assert choose_library(text) == ProductsReport(name=name, why=why)


class Choosing(nn.Module):
    """A model that supports the choice; `has_onednn` simulates the processor."""

    def __init__(self, *, has_onednn: bool = True) -> None:
        super().__init__()
        self.has_onednn = has_onednn
        self.library = "unasked"
        self.linear = nn.Linear(3 * CONTEXT, 1)

    def use_products(self, library: str) -> str:
        self.library = library if self.has_onednn else "torch"
        return self.library

    def forward(self, x_BTF: torch.Tensor) -> torch.Tensor:
        return self.linear(x_BTF.flatten(1))


def spec(name: Library, why: str = "of the study") -> TorchSpec:
    return make_attempt_spec(products=ProductsReport(name=name, why=why))


@pytest.mark.parametrize("name", ["torch", "onednn"])
def test_a_new_trial_has_the_library_of_its_study(trainer_of: Build, name: Library) -> None:
    """The module uses it, and the recorded policy contains it with its reason."""
    trainer = trainer_of(Choosing())
    policy = settle(spec(name), trainer)
    assert (policy.products, policy.why["products"]) == (name, "of the study")
    assert trainer.module.library == name


@pytest.mark.parametrize(("name", "other"), [("torch", "onednn"), ("onednn", "torch")])
def test_a_resumed_trial_keeps_its_library(trainer_of: Build, name: Library, other: Library) -> None:
    """The study's library has no effect."""
    earlier = settle(spec(name), trainer_of(Choosing())).plain()
    trainer = trainer_of(Choosing())
    policy = settle(spec(other, "other"), trainer, earlier=earlier)
    assert policy.plain() == earlier
    assert trainer.module.library == name


@pytest.mark.parametrize("earlier", [None, {"precision": "fp32", "compile": "off", "why": {}}])
@pytest.mark.parametrize("has_onednn", [True, False])
def test_studies_without_a_library_compute_as_before(
    trainer_of: Build, earlier: dict[str, Any] | None, has_onednn: bool
) -> None:
    """New and resumed trials use oneDNN with AVX-512, else torch's library, without a warning."""
    warnings: list[str] = []
    policy = settle(
        make_attempt_spec(), trainer_of(Choosing(has_onednn=has_onednn)), earlier=earlier, warnings=warnings
    )
    assert policy.products == ("onednn" if has_onednn else "torch")
    assert policy.why["products"] == "the study is older than this choice: oneDNN with AVX-512"
    assert warnings == []


def test_a_library_that_is_missing_here_is_a_warning(trainer_of: Build) -> None:
    """The trial uses the available library, records it, and keeps it from then on."""
    warnings: list[str] = []
    policy = settle(spec("onednn"), trainer_of(Choosing(has_onednn=False)), warnings=warnings)
    why = "onednn was chosen (of the study), but this processor or torch does not support it"
    assert (policy.products, policy.why["products"]) == ("torch", why)
    assert warnings == [f"float32 products are computed by torch, so results may differ in the last digits: {why}"]
    trainer = trainer_of(Choosing())
    assert settle(spec("onednn"), trainer, earlier=policy.plain(), warnings=warnings) == policy
    assert trainer.module.library == "torch"
    assert len(warnings) == 1


def test_a_model_without_a_choice_has_no_library(trainer_of: Build) -> None:
    """Its record contains none."""
    policy = settle(spec("onednn"), trainer_of())
    assert policy.products is None
    assert "products" not in policy.why
    assert Policy(**policy.plain()) == policy


def test_an_unknown_library_is_an_error() -> None:
    """The error contains the module and the returned value."""

    class Wrong(nn.Module):
        def use_products(self, library: str) -> None: ...

    with pytest.raises(TypeError) as caught:
        use_library(Wrong(), "torch")
    assert str(caught.value) == "Wrong.use_products() returned None, neither 'torch' nor 'onednn'"
