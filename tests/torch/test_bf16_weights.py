"""Casting all weights to bfloat16 at once computes the same numbers as autocast, for every model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from attrs import evolve
from torch import nn

from scalecore_torch.compute_policy import settle
from scalecore_torch.testing.training import make_attempt_spec
from scalecore_torch.training.bf16_weights import cast_at_once, same_pass
from scalecore_torch.training.blocks import checkpoint_blocks
from scalecore_torch.training.optimizer import build_optimizer
from scalecore_torch.training.policies import Policy
from scalecore_torch.training.training_loop import TrainingLoop

from .conftest import CONTEXT, Net
from .test_compilation import Deep, needs_compiler, of_policy

Build = Callable[..., TrainingLoop]
FEW = Policy(precision="bf16", launches="few", why={})


class Unused(Net):
    """A model with an unused linear layer, and one that each forward pass uses twice."""

    def __init__(self) -> None:
        super().__init__(dropout=0.0)
        self.unused, self.twice = nn.Linear(4, 4), nn.Linear(3 * CONTEXT, 3 * CONTEXT)

    def forward(self, x_BTF: torch.Tensor) -> torch.Tensor:
        return self.layers(self.twice(self.twice(x_BTF.flatten(1)).tanh()).view(x_BTF.shape))


class Tied(Net):
    """A model with two layers that share one weight."""

    def __init__(self) -> None:
        super().__init__(dropout=0.0)
        self.one, self.other = nn.Linear(3 * CONTEXT, 3 * CONTEXT), nn.Linear(3 * CONTEXT, 3 * CONTEXT)
        self.other.weight = self.one.weight

    def forward(self, x_BTF: torch.Tensor) -> torch.Tensor:
        return self.layers(self.other(self.one(x_BTF.flatten(1)).tanh()).view(x_BTF.shape))


class Peeks(Net):
    """A model that uses a linear layer's weight directly."""

    def forward(self, x_BTF: torch.Tensor) -> torch.Tensor:
        return super().forward(x_BTF) * self.layers[1].weight.square().sum()


def trained(trainer: TrainingLoop, policy: Policy) -> Mapping[str, Any]:
    trainer.policy = policy
    for _ in range(trainer.steps_per_epoch):
        trainer.optimizer_step()
    return trainer.state()


@pytest.mark.parametrize("make", [Net, Deep, Unused, Tied])
@pytest.mark.parametrize("micro_batch", [64, 24])
def test_training_is_bitwise_equal_to_autocast(trainer_of: Build, make: Any, micro_batch: int) -> None:
    """Weights, moments and losses are compared after an epoch with short batches; a layer without a gradient has no
    decay."""
    states = []
    for policy in (FEW, evolve(FEW, launches="plain")):
        torch.manual_seed(1)
        states.append(trained(trainer_of(make(), micro_batch=micro_batch), policy))
    found, expected = states
    assert found["progress"]["loss_sum"] == expected["progress"]["loss_sum"]
    assert found["module"].keys() == expected["module"].keys()
    assert all(torch.equal(one, expected["module"][name]) for name, one in found["module"].items())
    moments, others = found["optimizer"]["state"], expected["optimizer"]["state"]
    assert moments.keys() == others.keys()
    assert all(torch.equal(one["exp_avg_sq"], others[key]["exp_avg_sq"]) for key, one in moments.items())


def test_recomputed_activations_are_equal_too(trainer_of: Build) -> None:
    """Blocks recomputed in the backward pass use the same copies."""
    states = []
    for policy in (FEW, evolve(FEW, launches="plain")):
        trainer = trainer_of(Deep(), micro_batch=24)
        assert checkpoint_blocks(trainer.module) == 3
        states.append(trained(trainer, policy)["module"])
    assert all(torch.equal(one, states[1][name]) for name, one in states[0].items())


def test_parameters_are_restored_afterwards() -> None:
    """Also if the forward pass fails; only parameters owned by a single linear layer are replaced."""
    module = Tied()
    before = dict(module.named_parameters(remove_duplicate=False))

    def look() -> None:
        replaced = {name for name, part in module.named_modules() if part._parameters.get("weight") is not None}
        replaced = {name for name in replaced if module.get_submodule(name).weight.dtype == torch.bfloat16}
        assert replaced == {"layers.1", "layers.5"}
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), cast_at_once(module):
        look()
    after = dict(module.named_parameters(remove_duplicate=False))
    assert after.keys() == before.keys()
    assert all(after[name] is one for name, one in before.items())
    assert build_optimizer(module, learning_rate=1e-3, weight_decay=0.0).param_groups


@pytest.mark.parametrize(("make", "same"), [(Net, True), (Deep, True), (Tied, True), (Peeks, False)])
def test_a_model_that_uses_its_weights_directly_is_detected(trainer_of: Build, make: Any, same: bool) -> None:
    """The check runs before the first step on windows of the data, and changes neither random state nor buffers."""
    trainer = trainer_of(make())
    x_BTF, _ = trainer.train.batch(torch.arange(2))
    before, random = trainer.state()["module"], torch.get_rng_state()
    before = {name: one.clone() for name, one in before.items()}
    assert same_pass(trainer.module.train(), x_BTF) is same
    assert all(torch.equal(one, before[name]) for name, one in trainer.module.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)
    assert all(one.grad is None for one in trainer.module.parameters())


def test_launches_have_no_effect_on_a_cpu(trainer_of: Build) -> None:
    """The record contains the reason."""
    found = settle(make_attempt_spec(precision="bf16", launches="few"), trainer_of())
    assert (found.launches, found.why["launches"]) == ("plain", "no effect on cpu")


@needs_compiler
@pytest.mark.filterwarnings("ignore")  # torch warns about its own compiler
def test_compiled_blocks_use_the_copies(trainer_of: Build, tmp_path: Any) -> None:
    """They are compiled once with the copies, and train as close to eager blocks as without copies."""
    trainer = of_policy(trainer_of(Deep()), evolve(FEW, compile="block"), tmp_path)
    with torch._dynamo.config.patch(error_on_recompile=True):
        compiled = trained(trainer, trainer.policy)
    plain = trained(trainer_of(Deep()), evolve(FEW, launches="plain"))
    loss, other = compiled["progress"]["loss_sum"], plain["progress"]["loss_sum"]
    assert loss == pytest.approx(other, rel=1e-2)
