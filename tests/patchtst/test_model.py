"""The module: its inputs, its outputs, and that all of it learns."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from scalecore.api.module import (
    SupportsCompileBlocks,
    SupportsCompileSavings,
    SupportsProducts,
    SupportsRepeatedBlocks,
)
from scalecore.api.space import DataShape
from scalecore_patchtst.family import PatchTSTFamily
from scalecore_patchtst.layers import EncoderLayer, RevIN, attend, explicit_attention
from scalecore_patchtst.model import PatchTST
from scalecore_patchtst.options import PatchTSTOptions
from scalecore_torch.training.bf16_weights import same_pass

SHAPE = {"d_model": 16, "n_layers": 2, "n_heads": 4, "d_ff": 32}
DATA = DataShape(context=20, features=3, outputs=2)


def build(
    *,
    shape: dict[str, int] = SHAPE,
    data: DataShape = DATA,
    options: PatchTSTOptions | None = None,
    dropout: float = 0.0,
    head_dropout: float = 0.0,
    seed: int = 0,
) -> PatchTST:
    torch.manual_seed(seed)
    family = PatchTSTFamily(options or PatchTSTOptions(revin=True))
    module = family.build(shape, {"dropout": dropout, "head_dropout": head_dropout}, data)
    assert isinstance(module, PatchTST)
    return module


@pytest.mark.parametrize(
    "ability", [SupportsCompileBlocks, SupportsCompileSavings, SupportsProducts, SupportsRepeatedBlocks]
)
def test_the_module_satisfies_the_optional_protocols(ability: type) -> None:
    """The protocols are those of the public API."""
    assert isinstance(build(), ability)


def windows(count: int = 5, *, seed: int = 1) -> torch.Tensor:
    return torch.randn(count, DATA.context, DATA.features, generator=torch.Generator().manual_seed(seed))


def test_g10_outputs_are_logits() -> None:
    """Outputs are the head's direct outputs: they exceed [0, 1] on both sides and are proportional to its weights."""
    module = build()
    logits = module(windows(64))
    assert logits.shape == (64, 2)
    with torch.no_grad():
        module.head.weight *= 100
    scaled = module(windows(64))
    torch.testing.assert_close(scaled, 100 * logits, rtol=1e-4, atol=1e-4)
    assert scaled.min() < 0
    assert scaled.max() > 1


def test_every_parameter_but_the_spare_positions_gets_a_gradient() -> None:
    """One backward pass reaches all parameters, but only the positions of patches."""
    module = build(dropout=0.1, head_dropout=0.1)
    torch.autograd.backward(nn.functional.binary_cross_entropy_with_logits(module(windows()), torch.ones(5, 2)))
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        if name == "positions":
            assert parameter.grad[: module.n_patches].abs().sum(dim=1).min() > 0
            assert torch.equal(parameter.grad[module.n_patches :], torch.zeros(10, SHAPE["d_model"]))
        else:
            assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("shape", [(5, 3, 20), (5, 20, 4), (5, 19, 3), (20, 3), (1, 5, 20, 3)])
def test_a_wrong_input_shape_is_refused(shape: tuple[int, ...]) -> None:
    """Swapped axes, another number of features or steps, and missing or extra axes are reported instead of
    broadcast."""
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole message is compared
        build()(torch.zeros(shape))
    assert str(caught.value) == (
        f"expected an input of shape [batch, 20, 3] (batch, context, features), got {list(shape)}"
    )


def test_patches_contain_the_steps_in_order_and_end_with_the_latest() -> None:
    """Patch i has the steps from its start on, with all features of a step together; a remainder of the oldest steps is
    dropped."""
    data = DataShape(context=12, features=2, outputs=1)
    module = build(data=data, options=PatchTSTOptions(patch_len=5, stride=3))
    x = torch.arange(24.0).view(1, 12, 2)
    expected = torch.stack([x[0, start : start + 5].flatten() for start in (1, 4, 7)])
    assert torch.equal(module._patches(x)[0], expected)
    assert torch.equal(module._patches(x.transpose(1, 2).contiguous().transpose(1, 2))[0], expected)


def test_the_order_of_patches_matters() -> None:
    """The positions and the head distinguish patches: a reversed window has other logits."""
    module = build()
    x = windows()
    assert not torch.allclose(module(x), module(x.flip(1)), atol=1e-3)


@pytest.mark.parametrize(("dropout", "head_dropout"), [(0.5, 0.0), (0.0, 0.5)])
def test_g03_both_dropouts_act_in_training_only(dropout: float, head_dropout: float) -> None:
    """Each of the two rates alone changes training passes and does not change evaluation."""
    plain = build()
    module = build(dropout=dropout, head_dropout=head_dropout)
    assert not torch.allclose(module(windows()), plain(windows()))
    assert torch.equal(module.eval()(windows()), plain.eval()(windows()))


def test_revin_ignores_level_and_scale_of_a_window() -> None:
    """Shifting and scaling each feature of each window does not change the logits, up to the epsilon of the
    variance."""
    module = build().eval()
    x = windows()
    stretched = x * torch.tensor([3.0, 20.0, 0.5]) + torch.tensor([100.0, -7.0, 0.1])
    torch.testing.assert_close(module(stretched), module(x), rtol=1e-3, atol=1e-4)
    plain = build(options=PatchTSTOptions()).eval()
    assert not torch.allclose(plain(stretched), plain(x), atol=1e-2)


def test_revin_normalises_over_time_and_accepts_constant_features() -> None:
    """Mean is 0 and deviation 1 over the steps; a constant feature becomes its learned shift, not NaN."""
    x = windows()
    x[:, :, 2] = 42.0
    normalised = RevIN(3)(x)
    torch.testing.assert_close(normalised.mean(dim=1), torch.zeros(5, 3), rtol=0, atol=1e-5)
    torch.testing.assert_close(normalised[..., :2].std(dim=1, correction=0), torch.ones(5, 2), rtol=1e-4, atol=0)
    assert torch.equal(normalised[..., 2], torch.zeros(5, 20))


def test_an_encoder_layer_is_the_standard_pre_norm_layer() -> None:
    """With the same weights, outputs and gradients of the input match torch's own encoder layer."""
    torch.manual_seed(0)
    ours = EncoderLayer(d_model=16, n_heads=4, d_ff=32, n_layers=3, dropout=0.0)
    theirs = nn.TransformerEncoderLayer(16, 4, 32, dropout=0.0, activation="gelu", batch_first=True, norm_first=True)
    pairs = {
        "self_attn.in_proj": ours.qkv,
        "self_attn.out_proj": ours.attention_out,
        "linear1": ours.up,
        "linear2": ours.down,
        "norm1": ours.attention_norm,
        "norm2": ours.feed_forward_norm,
    }
    for linear in (ours.qkv, ours.attention_out, ours.up, ours.down):
        nn.init.normal_(linear.bias)
    state: dict[str, torch.Tensor] = {}
    for name, module in pairs.items():
        separator = "_" if name == "self_attn.in_proj" else "."
        state |= {f"{name}{separator}{kind}": module.state_dict()[kind] for kind in ("weight", "bias")}
    theirs.load_state_dict(state)
    x, y = (torch.randn(3, 7, 16, generator=torch.Generator().manual_seed(1)).requires_grad_() for _ in range(2))
    ours_out, theirs_out = ours(x), theirs(y)
    torch.testing.assert_close(ours_out, theirs_out)
    torch.autograd.backward([ours_out.square().sum(), theirs_out.square().sum()])
    torch.testing.assert_close(x.grad, y.grad)


def test_both_implementations_of_attention_agree() -> None:
    """Explicit attention matches the fused kernel in float32 and, within its precision, in bfloat16."""
    q, k, v = torch.randn(3, 2, 4, 11, 8, generator=torch.Generator().manual_seed(0)).unbind(0)
    fused = attend(q, k, v)
    torch.testing.assert_close(explicit_attention(q, k, v), fused)
    torch.testing.assert_close(attend(q.bfloat16(), k.bfloat16(), v.bfloat16()).float(), fused, rtol=0.05, atol=0.05)


def test_bfloat16_autocast_trains() -> None:
    """Under CPU autocast the forward pass is close to the one in float32, and all gradients are finite."""
    module = build()
    with torch.autocast("cpu", torch.bfloat16):
        logits = module(windows())
    torch.testing.assert_close(logits.float(), module(windows()), rtol=0.1, atol=0.05)
    torch.autograd.backward(logits.float().square().sum())
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in module.parameters())


@pytest.mark.parametrize("d_model", [16, 256])
def test_the_residual_stream_starts_alike_at_any_depth_and_width(d_model: int) -> None:
    """Before the last norm its deviation is about 1 with 2 and with 96 layers, and the first logits are small."""
    for n_layers in (2, 96):
        shape = {"d_model": d_model, "n_layers": n_layers, "n_heads": 4, "d_ff": 2 * d_model}
        module = build(shape=shape).eval()
        streams: list[torch.Tensor] = []
        module.norm.register_forward_pre_hook(lambda _, inputs, into=streams: into.append(inputs[0]))
        with torch.no_grad():
            logits = module(windows(8))
        assert 0.7 < streams[0].std() < 1.6
        assert logits.abs().max() < 0.5


def test_a_deep_model_learns() -> None:
    """48 layers learn a rule on the last steps of a window within a few optimizer steps."""
    shape = {"d_model": 16, "n_layers": 48, "n_heads": 2, "d_ff": 32}
    module = build(shape=shape, data=DataShape(context=20, features=3, outputs=1), options=PatchTSTOptions())
    x = windows(64)
    y = (x[:, -5:, 0].sum(dim=1, keepdim=True) > 0).float()
    optimizer = torch.optim.AdamW(module.parameters(), lr=2e-3)
    losses = []
    for _ in range(25):
        loss = nn.functional.binary_cross_entropy_with_logits(module(x), y)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] == pytest.approx(0.693, abs=0.05)
    assert losses[-1] < 0.35


def test_bfloat16_learns_what_float32_learns() -> None:
    """The same steps in bfloat16, in eager code and in the layout of compiled code, learn the same rule."""
    x = windows(64)
    y = (x[:, -5:, 0].sum(dim=1, keepdim=True) > 0).float()
    losses = {}
    for way in ("float32", "bfloat16", "innermost"):
        module = build(data=DataShape(context=20, features=3, outputs=1), options=PatchTSTOptions(), dropout=0.1)
        if way == "innermost":
            module.compile_blocks(lambda block: block, batch=64)
        optimizer = torch.optim.AdamW(module.parameters(), lr=3e-3, fused=True)
        for _ in range(40):
            with torch.autocast("cpu", torch.bfloat16, enabled=way != "float32"):
                logits = module(x)
            loss = nn.functional.binary_cross_entropy_with_logits(logits.float(), y)
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
        losses[way] = nn.functional.binary_cross_entropy_with_logits(module.eval()(x), y).item()
    assert losses["float32"] < 0.3
    assert losses["bfloat16"] == pytest.approx(losses["float32"], abs=0.1)
    assert losses["innermost"] == pytest.approx(losses["float32"], abs=0.1)


def test_a_2b_model_is_built_on_the_meta_device_without_memory() -> None:
    """256 layers of width 768 are created from shapes alone."""
    shape = {"d_model": 768, "n_layers": 256, "n_heads": 16, "d_ff": 3072}
    with torch.device("meta"):
        module = build(shape=shape, data=DataShape(context=60, features=25, outputs=1), options=PatchTSTOptions())
    assert {parameter.device.type for parameter in module.parameters()} == {"meta"}
    assert sum(parameter.numel() for parameter in module.parameters()) == 1_814_714_113


def test_weights_may_be_cast_all_at_once() -> None:
    """In bfloat16 a training pass is bitwise equal to autocast, with and without dropout."""
    for rate in (0.0, 0.2):
        assert same_pass(build(dropout=rate, head_dropout=rate).train(), windows())
