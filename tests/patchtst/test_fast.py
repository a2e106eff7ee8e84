"""The fast implementations match the plain ones: products, dropout, the layout of compiled code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from scalecore.api.space import DataShape
from scalecore_patchtst.family import PatchTSTFamily
from scalecore_patchtst.fast_dropout import draw_seeds, dropout, hashed_mask
from scalecore_patchtst.model import PatchTST
from scalecore_patchtst.options import PatchTSTOptions
from scalecore_patchtst.products import HAS_ONEDNN, Linear, affine_rows, product, served, weight_gradient

BATCH = 8
WIDE = {"d_model": 64, "n_layers": 2, "n_heads": 4, "d_ff": 128}


def build(*, dropout: float = 0.0, stride: int = 5, patch_len: int = 10) -> PatchTST:
    torch.manual_seed(0)
    family = PatchTSTFamily(PatchTSTOptions(patch_len=patch_len, stride=stride))
    module = family.build(WIDE, {"dropout": dropout, "head_dropout": 0.0}, DataShape(context=60, features=3, outputs=2))
    assert isinstance(module, PatchTST)
    return module


def windows(count: int = BATCH) -> torch.Tensor:
    return torch.randn(count, 60, 3, generator=torch.Generator().manual_seed(1))


def as_it_is(block: Callable[..., Any]) -> Callable[..., Any]:
    """A compiler that returns the code unchanged, to test its input."""
    return block


def gradients(module: nn.Module, x: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    module.zero_grad()
    logits = module(x)
    torch.autograd.backward(logits.float().square().sum())
    return logits.detach(), {name: p.grad.clone() for name, p in module.named_parameters() if p.grad is not None}


def test_products_are_as_exact_as_float32_allows() -> None:
    """Plain, with a bias, and for transposed views, they agree with float64 to a few units in the last place."""
    a, b, bias = torch.randn(96, 640), torch.randn(64, 640), torch.randn(64)
    expected = a.double() @ b.double().t()
    torch.testing.assert_close(product(a, b).double(), expected, rtol=1e-5, atol=2e-4)
    torch.testing.assert_close(product(a, b, bias).double(), expected + bias, rtol=1e-5, atol=2e-4)
    columns = product(b, a)
    torch.testing.assert_close(product(a.t().contiguous().t(), b.t().contiguous().t()), columns.t())


def test_a_linear_layer_matches_torchs() -> None:
    """Outputs and all gradients match `nn.Linear` with the same weights, for tokens in rows and in columns."""
    torch.manual_seed(0)
    ours, theirs = Linear(64, 96), nn.Linear(64, 96)
    ours.draw()
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(4, 5, 64)
    results = []
    for function in (ours, theirs, lambda x: affine_rows(x.view(20, 64).t(), ours).t().reshape(4, 5, 96)):
        module = theirs if function is theirs else ours
        given = x.clone().requires_grad_()
        module.zero_grad()
        y = function(given)
        torch.autograd.backward(y.square().sum())
        results.append([y, given.grad, module.weight.grad, module.bias.grad])
    for result in (results[0], results[2]):
        for one, other in zip(result, results[1], strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(("inputs", "outputs"), [(64, 192), (64, 64), (256, 64), (128, 512), (100, 333)])
@pytest.mark.parametrize("tokens", [704, 37 * 11, 8])
def test_the_gradient_of_weights_is_equal_in_both_product_orders(inputs: int, outputs: int, tokens: int) -> None:
    """Whichever factor is copied, it is bitwise equal to the gradient in older studies."""
    torch.manual_seed(tokens)
    dy, x = torch.randn(tokens, outputs), torch.randn(tokens, inputs)
    gradient = weight_gradient(dy, x)
    assert gradient.is_contiguous()
    assert torch.equal(gradient, product(dy.t(), x.t()))


class Operators(TorchDispatchMode):
    """Names of the executed operators."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.add(str(func))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("compiled", [False, True])
def test_both_libraries_compute_the_same_model(compiled: bool) -> None:
    """In eager code and in the code for the compiler, logits and gradients agree, and the chosen library is used."""
    results = {}
    for library in ("torch", "onednn"):
        module = build()
        assert module.use_products(library) == (library if HAS_ONEDNN else "torch")
        if compiled:
            module.compile_blocks(as_it_is, batch=BATCH)
        with Operators() as ran:
            results[library] = gradients(module, windows())
        assert ("scalecore_patchtst.product.default" in ran.names) is (library == "onednn" and HAS_ONEDNN)
    torch.testing.assert_close(results["torch"][0], results["onednn"][0], rtol=1e-4, atol=1e-4)
    for name, gradient in results["torch"][1].items():
        scale = gradient.abs().max()
        torch.testing.assert_close(results["onednn"][1][name] / scale, gradient / scale, rtol=1e-4, atol=1e-4)


def test_a_model_without_a_choice_uses_onednn_if_available() -> None:
    """It did so before the choice existed."""
    with Operators() as ran:
        build()(windows())
    assert ("scalecore_patchtst.product.default" in ran.names) is HAS_ONEDNN


def test_small_weights_and_other_types_go_to_torch() -> None:
    """Below the smallest number of weights, in bfloat16, and under autocast, torch's own product is used."""
    x, large, small = torch.zeros(64, 64), Linear(64, 64), Linear(8, 8)
    large.by_onednn = small.by_onednn = True
    assert served(x, large)
    assert not served(x[:, :8], small)
    assert not served(x.bfloat16(), Linear(64, 64).bfloat16())
    assert not served(x.to("meta"), Linear(64, 64).to("meta"))
    with torch.autocast("cpu", torch.bfloat16):
        assert not served(x, large)
    large.by_onednn = False
    assert not served(x, large)


@pytest.mark.parametrize("rate", [0.1, 0.37, 0.9])
def test_dropout_drops_its_rate_and_keeps_the_mean(rate: float) -> None:
    """Both methods set that share of the activations to zero, up to chance, and keep the expectation."""
    torch.manual_seed(3)
    count = 400_000
    for kept in (dropout(torch.ones(count), rate, training=True), hashed_mask((count,), rate, draw_seeds(1)[0])):
        assert (kept == 0).float().mean().item() == pytest.approx(rate, abs=5 * (rate * (1 - rate) / count) ** 0.5)
        assert kept[kept > 0].unique().tolist() == pytest.approx([1 / (1 - rate)], rel=1e-4)


def test_masks_are_independent_of_each_other_and_of_their_neighbours() -> None:
    """Masks of different seeds, and a mask and its shifted copy, agree only by chance."""
    torch.manual_seed(3)
    count, rate = 400_000, 0.5
    seeds = draw_seeds(2)
    first, second = (hashed_mask((count,), rate, one) > 0 for one in seeds)
    drawn = dropout(torch.ones(count), rate, training=True) > 0
    pairs = [(first, second), (drawn, first)]
    pairs += [(one[shift:], one[:-shift]) for one in (first, drawn) for shift in (1, 2, 4, 16, 64, 704)]
    for one, other in pairs:
        assert (one == other).float().mean().item() == pytest.approx(0.5, abs=5 * 0.5 / count**0.5)


def test_the_seed_determines_the_mask() -> None:
    """Equal states of torch's generator drop the same activations, other states others; evaluation drops none."""
    x = torch.ones(1000)

    def draws(seed: int) -> list[torch.Tensor]:
        torch.manual_seed(seed)
        return [dropout(x, 0.3, training=True), hashed_mask((1000,), 0.3, draw_seeds(1)[0])]

    for one, same, other in zip(draws(1), draws(1), draws(2), strict=True):
        assert torch.equal(one, same)
        assert not torch.equal(one, other)
    assert dropout(x, 0.3, training=False) is x


@pytest.mark.parametrize("stride", [5, 2])
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_the_layout_of_compiled_code_does_not_change_the_model(stride: int, precision: torch.dtype) -> None:
    """With windows innermost (12 patches or fewer) and without (26), logits and gradients match the plain ones."""
    module = build(stride=stride)
    with torch.autocast("cpu", torch.bfloat16, enabled=precision is torch.bfloat16):
        plain_logits, plain = gradients(module, windows())
        module.compile_blocks(as_it_is, batch=BATCH)
        logits, fast = gradients(module, windows())
    assert module._compiled is not None
    assert module._compiled.innermost is (stride == 5)
    close = {"rtol": 1e-4, "atol": 1e-4} if precision is torch.float32 else {"rtol": 0.1, "atol": 0.1}
    torch.testing.assert_close(logits.float(), plain_logits.float(), **close)
    assert fast.keys() == plain.keys()
    for name in plain:
        scale = plain[name].abs().max()
        torch.testing.assert_close(fast[name] / scale, plain[name] / scale, **close)


def test_other_batches_and_evaluations_are_eager() -> None:
    """A short last batch and all evaluations do not use compiled layers, which add no parameters."""
    module = build()
    names = [name for name, _ in module.named_parameters()]
    used = []

    def spy(block: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *arguments: used.append(1) or block(*arguments)

    module.compile_blocks(spy, batch=BATCH)
    assert [name for name, _ in module.named_parameters()] == names == list(module.state_dict())
    module(windows(BATCH - 1))
    module.eval()(windows(BATCH))
    assert not used
    module.train()(windows(BATCH))
    assert len(used) == WIDE["n_layers"]


# torch warns about its own compiler.
@pytest.mark.filterwarnings("ignore")
def test_compiled_code_with_dropout_matches_eager_code_with_the_same_seeds() -> None:
    """Compiled once for all layers, outputs and gradients match the same code in eager mode, including masks."""
    compiled = {"as_it_is": as_it_is, "compiled": lambda block: torch.compile(block, dynamic=False, fullgraph=True)}
    results = {}
    for name, compiler in compiled.items():
        module = build(dropout=0.3)
        module.compile_blocks(compiler, batch=BATCH)
        torch.manual_seed(5)
        results[name] = gradients(module, windows())
    torch.testing.assert_close(results["compiled"][0], results["as_it_is"][0], rtol=1e-4, atol=1e-4)
    for name, gradient in results["as_it_is"][1].items():
        torch.testing.assert_close(results["compiled"][1][name], gradient, rtol=1e-3, atol=1e-3)
