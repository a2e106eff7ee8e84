"""Contract of model families, with or without closed forms for their sizes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import pytest

from scalecore.api.engine import CountedFamily
from scalecore.api.model import ModelFamily, SupportsLevelCheck
from scalecore.api.space import DataShape
from scalecore.api.worker import Hyperparameters

__all__ = ["ModelContract"]


class ModelContract:
    """Inherit and define the fixture `family`.

    The tests build the smallest, the middle and the largest architecture of at most `max_parameters`, for each of
    `shapes`. For a family without closed forms they test the counts that replace them.
    """

    shapes: tuple[DataShape, ...] = (
        DataShape(context=20, features=3, outputs=1),
        DataShape(context=24, features=1, outputs=3),
    )
    max_parameters: int = 2_000_000
    flops_tolerance: float | None = 0.01
    """Largest relative difference between `flops` and torch's count, which covers matrix products only. None for a
    family with operations that torch cannot count: its closed form is not tested."""
    activations_factor: float | None = 2.0
    """Largest factor between `saved_activations` and the numbers that a window keeps for the backward pass, in either
    direction. None for a family with kernels that keep other objects than tensors."""
    windows_are_independent: bool = True
    """False for a family with outputs that depend on other windows of the batch even in evaluation."""

    @pytest.fixture
    def family(self) -> ModelFamily:
        """The family under test."""
        pytest.fail("define the fixture `family`: return your model family")

    @pytest.fixture(autouse=True)
    def _one_thread(self) -> Iterator[None]:
        """Use one thread: for shapes this small, more threads only slow the tests down."""
        import torch

        before = torch.get_num_threads()
        torch.set_num_threads(1)
        yield
        torch.set_num_threads(before)

    def test_the_space_is_legal(self, family: ModelFamily) -> None:
        """Every architecture has a legal value for every dimension, no other keys, and is listed once."""
        for data in self.shapes:
            space = family.architecture_space(data)
            assert space.architectures, f"no architecture for {data}"
            seen = set()
            for one in space.architectures:
                assert list(one) == list(space.dimensions), f"{one} does not have the dimensions in their order"
                for name, value in one.items():
                    assert type(value) is int, f"{name} of {one} is no int"
                    assert value in space.dimensions[name], f"{name}={value} is not in dimensions[{name!r}]"
                assert tuple(one.items()) not in seen, f"{one} is listed twice"
                seen.add(tuple(one.items()))

    def test_derived_names_have_a_number_for_every_architecture(self, family: ModelFamily) -> None:
        """`scalecore import` uses them to find the architecture of a record without a dimension's value [G17]."""
        for data in self.shapes:
            space = family.architecture_space(data)
            for name, rule in space.derived.items():
                for one in space.architectures:
                    value = rule(one)
                    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
                    assert number, f"derived name {name!r} of {one} is {value!r}, not a finite number"

    def test_parameters_are_counted_exactly(self, family: ModelFamily) -> None:
        """`num_parameters` equals the number of parameters of the built module exactly [G04]."""
        for data, one in self._tried(family):
            counted = sum(p.numel() for p in self._build(family, one, data).parameters() if p.requires_grad)
            assert self._sized(family).num_parameters(one, data) == counted, f"num_parameters({one}, {data})"

    def test_logits_are_finite(self, family: ModelFamily) -> None:
        """x[batch, context, features] becomes [batch, outputs], in training and evaluation, also for a batch of one."""
        import torch

        for data, one in self._tried(family):
            module = self._build(family, one, data)
            for training in (True, False):
                for batch in (1, 5):
                    logits_BC = module.train(training)(self._input(data, batch))
                    assert tuple(logits_BC.shape) == (batch, data.outputs), f"{one}, {data}"
                    assert bool(torch.isfinite(logits_BC).all()), f"{one}, {data}: logits are not finite"

    def test_logits_are_not_squashed(self, family: ModelFamily) -> None:
        """The model ends without sigmoid or softmax: the loss applies its own [G10]."""
        import torch

        for data, one in self._tried(family):
            module = self._build(family, one, data).train()
            optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
            for _ in range(60):
                optimizer.zero_grad()
                torch.autograd.backward(module(self._input(data, 4)).mean())
                torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
                optimizer.step()
            lowest = float(module.eval()(self._input(data, 4)).detach().mean())
            assert lowest < 0.0, f"{one}, {data}: training towards low logits ends at {lowest:.3g}; are they squashed?"

    def test_every_parameter_gets_a_gradient(self, family: ModelFamily) -> None:
        """A parameter without a gradient would count towards the budget and never be trained."""
        import torch

        for data, one in self._tried(family):
            module = self._build(family, one, data).train()
            weights_BC = torch.randn(5, data.outputs, generator=torch.Generator().manual_seed(2))
            torch.autograd.backward((module(self._input(data, 5)) * weights_BC).sum())
            without = [name for name, p in module.named_parameters() if p.requires_grad and p.grad is None]
            assert not without, f"{one}, {data}: no gradient for {', '.join(without)}"

    def test_a_wrong_shape_is_an_error(self, family: ModelFamily) -> None:
        """Broadcasting must not hide an additional feature."""
        for data, one in self._tried(family):
            module = self._build(family, one, data).eval()
            wrong = DataShape(context=data.context, features=data.features + 1, outputs=data.outputs)
            with pytest.raises(Exception):  # noqa: B017, PT011 - whatever torch says
                module(self._input(wrong, 2))

    def test_the_seed_decides(self, family: ModelFamily) -> None:
        """The same seed builds the same weights, and evaluation draws no random numbers."""
        import torch

        for data, one in self._tried(family):
            first, second = (self._build(family, one, data).eval() for _ in range(2))
            x_BTF = self._input(data, 3)
            assert torch.equal(first(x_BTF), second(x_BTF)), f"{one}, {data}: two builds of one seed differ"
            assert torch.equal(first(x_BTF), first(x_BTF)), f"{one}, {data}: evaluation draws random numbers"

    def test_windows_do_not_see_each_other(self, family: ModelFamily) -> None:
        """In evaluation, the logits of a window do not depend on its batch."""
        import torch

        if not self.windows_are_independent:
            pytest.skip("this family declares that its windows depend on each other")
        for data, one in self._tried(family):
            module = self._build(family, one, data).eval()
            x_BTF = self._input(data, 4)
            alone = torch.cat([module(x_TF[None]) for x_TF in x_BTF])
            torch.testing.assert_close(module(x_BTF), alone, rtol=1e-4, atol=1e-5)

    def test_a_lost_level_is_declared(self, family: ModelFamily) -> None:
        """A model that removes the level of a window restores it in the outputs, or `level_removed_by` names the cause
        [G57]."""
        import torch

        from scalecore_torch.training.output_checks import removes_level

        declared = family.level_removed_by() if isinstance(family, SupportsLevelCheck) else None
        for data, one in self._tried(family):
            module = self._build(family, one, data)
            with torch.no_grad():
                for parameter in module.parameters():  # a head that starts at zero ignores everything
                    parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(3)))
            removed = removes_level(module, self._input(data, 8))
            assert removed == (declared is not None), (
                f"{one}, {data}: outputs {'do not ' if removed else ''}follow the level of the window, but "
                f"level_removed_by() returns {declared!r}"
            )

    def test_declared_hyperparameters_are_read_and_no_others(self, family: ModelFamily) -> None:
        """A search would vary a declared hyper-parameter without effect if `build` did not read it [G03]."""
        names = [parameter.name for parameter in family.hyperparameters()]
        assert len(set(names)) == len(names), "a hyper-parameter is declared twice"
        for parameter in family.hyperparameters():
            problem = parameter.problem(parameter.default)
            assert problem is None, f"the default of {parameter.name}: {problem}"
        read: set[str] = set()
        for data, one in self._tried(family):
            values = self._values(family)
            family.build(one, values, data)
            read |= set(names) - set(values.unread(names))
        assert read == set(names), f"declared and never read: {', '.join(sorted(set(names) - read))}"

    def test_flops_are_those_of_torch(self, family: ModelFamily) -> None:
        """`flops` matches torch's count for a forward pass of one window; a multiply-add counts as two."""
        from scalecore_torch.training.counting import count_flops, plain_kernels

        if self.flops_tolerance is None:
            pytest.skip("this family declares that torch cannot count its operations")
        for data, one in self._tried(family):
            module, x_BTF = self._build(family, one, data).train(), self._input(data, 1)
            # In training mode: torch does not count operations that it fuses in evaluation or on the CPU.
            with plain_kernels():
                counted = count_flops(partial(module, x_BTF))
            returned = self._sized(family).flops(one, data)
            assert abs(returned - counted) <= self.flops_tolerance * counted + 8 * data.outputs * data.context, (
                f"{one}, {data}: flops returns {returned}, torch counts {counted}"
            )

    def test_activations_are_about_right(self, family: ModelFamily) -> None:
        """`saved_activations` approximates the numbers that a window keeps for the backward pass, for memory
        prediction."""
        from scalecore_torch.training.counting import count_activations, plain_kernels

        if self.activations_factor is None:
            pytest.skip("this family declares that its kernels keep other objects than tensors")
        for data, one in self._tried(family):
            module, batch = self._build(family, one, data).train(), 8
            # oneDNN keeps a workspace for recurrent layers, which is no activation.
            with plain_kernels():
                counted = count_activations(module, partial(module, self._input(data, batch))) / batch
            returned = self._sized(family).saved_activations(one, data)
            slack = 4 * data.context * data.features + 64
            assert returned <= self.activations_factor * counted + slack, (
                f"{one}: saved_activations returns {returned}, torch keeps {counted:.0f}"
            )
            assert counted <= self.activations_factor * returned + slack, (
                f"{one}: saved_activations returns {returned}, torch keeps {counted:.0f}"
            )

    def test_learning_works(self, family: ModelFamily) -> None:
        """Sixty steps lower the loss on eight windows with labels from their last row, and separate the windows."""
        import torch
        from torch.nn import functional

        data = DataShape(context=self.shapes[0].context, features=self.shapes[0].features, outputs=1)
        one = self._shapes_of(family, data)[0]
        module = self._build(family, one, data).train()
        x_BTF = self._input(data, 8)
        y_B = (x_BTF[:, -1, 0] > x_BTF[:, -1, 0].median()).float()
        optimizer = torch.optim.AdamW(module.parameters(), lr=3e-3)
        losses = []
        for _ in range(60):
            loss = functional.binary_cross_entropy_with_logits(module(x_BTF)[:, 0], y_B)
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            losses.append(float(loss.detach()))
        assert sum(losses[-5:]) / 5 < losses[0], f"{one}: the loss went from {losses[0]:.3f} to {losses[-1]:.3f}"
        # A bias alone lowers the loss too.
        logits_B = module.eval()(x_BTF)[:, 0].detach()
        assert float(logits_B.max() - logits_B.min()) > 1e-4, f"{one}: all windows get the logit {logits_B[0]:.3g}"

    # --- helpers ----------------------------------------------------------------------------------------------------

    def _tried(self, family: ModelFamily) -> list[tuple[DataShape, Mapping[str, int]]]:
        return [(data, one) for data in self.shapes for one in self._shapes_of(family, data)]

    def _shapes_of(self, family: ModelFamily, data: DataShape) -> list[Mapping[str, int]]:
        """Smallest, middle and largest by parameters, each once."""
        sized = self._sized(family)
        found = sorted(family.architecture_space(data).architectures, key=lambda one: sized.num_parameters(one, data))
        small = [one for one in found if sized.num_parameters(one, data) <= self.max_parameters]
        assert small, f"no architecture has at most {self.max_parameters} parameters; raise `max_parameters`"
        positions = dict.fromkeys((0, len(small) // 2, len(small) - 1))
        return [small[position] for position in positions]

    def _sized(self, family: ModelFamily) -> CountedFamily:
        """The family with missing sizes counted, as in a study."""
        from scalecore_torch.training.counting import count

        def ask(
            architectures: Sequence[Mapping[str, int]], data: DataShape, forward: bool
        ) -> Sequence[Mapping[str, int]]:
            return [count(family, one, data, forward=forward) for one in architectures]

        return CountedFamily(family, ask)

    def _values(self, family: ModelFamily) -> Hyperparameters:
        from scalecore_torch.training.counting import default_values

        return default_values(family)

    def _build(self, family: ModelFamily, architecture: Mapping[str, int], data: DataShape) -> Any:
        import torch

        torch.manual_seed(0)
        return family.build(architecture, self._values(family), data)

    def _input(self, data: DataShape, batch: int) -> Any:
        import torch

        generator = torch.Generator().manual_seed(1)
        return torch.randn(batch, data.context, data.features, generator=generator)
