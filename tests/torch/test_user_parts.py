"""The user's losses, metrics, optimizers and schedules in the training loop."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from attrs import evolve

from scalecore.api.errors import RefusedError
from scalecore.execution.hyperparameters import Hyperparameters
from scalecore_torch.testing.training import make_training_plan
from scalecore_torch.training import checkpoint
from scalecore_torch.training.tasks import task_named
from scalecore_torch.training.training_loop import TrainingLoop
from scalecore_torch.training.user_parts import optimizer_problem, user_parts
from scalecore_torch.training.windows import open_windows
from scalecore_torch.user_code import UserCode, UserPart

from .conftest import Net

CODE = '''\
import math

import torch
import torch.nn.functional as F


class Bce:
    """The task's own loss, written again."""

    tasks = ("binary",)

    def __call__(self, logits, labels):
        return F.binary_cross_entropy_with_logits(logits[:, 0], labels, reduction="none")


class Weighted(torch.nn.Module):
    tasks = ("binary",)

    def __init__(self, weight):
        super().__init__()
        self.register_buffer("weight", torch.tensor(weight))

    def forward(self, logits, labels):
        return self.weight * F.binary_cross_entropy_with_logits(logits[:, 0], labels, reduction="none")


class Mean(Bce):
    over_windows = False

    def __call__(self, logits, labels):
        return super().__call__(logits, labels).mean()


class Squares:
    tasks = ("forecast",)

    def __call__(self, outputs, labels):
        return (outputs[:, 0] - labels) ** 2


class Reduced(Bce):
    def __call__(self, logits, labels):
        return super().__call__(logits, labels).mean()


class Wrong(Bce):
    def __call__(self, logits, labels):
        return F.cross_entropy(logits, labels, reduction="none")


class Large(Bce):
    def __call__(self, logits, labels):
        raise MemoryError


def hit_rate(outputs, labels):
    return ((outputs[:, 0] > 0) == (labels > 0.5)).mean()


def mean_output(outputs, labels):
    return outputs.mean()


def nothing(outputs, labels):
    return None


def not_a_number(outputs, labels):
    return float("nan")


def infinite(outputs, labels):
    return -math.inf


def text(outputs, labels):
    return "much"


def changes(outputs, labels):
    outputs += 1
    return 0.0


class Late:
    """Has a value from its third call on."""

    calls = 0


def late(outputs, labels):
    Late.calls += 1
    return None if Late.calls < 3 else 1.0 / Late.calls


class Odd(torch.optim.SGD):
    """Has a state that a checkpoint cannot store."""

    def step(self, closure=None):
        super().step(closure)
        for group in self.param_groups:
            for one in group["params"]:
                self.state[one]["odd"] = Bce()


def linear(step, warmup_steps, total_steps):
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    return 1 - (step - warmup_steps) / max(1, total_steps - warmup_steps)


def leaves(step, warmup_steps, total_steps):
    return 1.0 if step < 5 else 1.5
'''


@pytest.fixture
def part(tmp_path: Path) -> Callable[..., UserPart]:
    """A part of the file above by name."""
    file = tmp_path / "own.py"
    file.write_text(CODE)

    def part(name: str, **options: Any) -> UserPart:
        return UserPart(name=name, file=str(file), options=options)

    return part


@pytest.fixture
def trainer(prepared: Path) -> Callable[..., TrainingLoop]:
    """A training loop with the user's code; keyword arguments change the plan."""

    def build(own: UserCode | None = None, **plan: Any) -> TrainingLoop:
        torch.manual_seed(3)
        windows = open_windows(prepared)
        values = {"learning_rate": 1e-2, "weight_decay": 1e-2, "warmup_steps": 3, "epochs": 4}
        parts = user_parts(own)
        return TrainingLoop(
            module=Net(dropout=0.0),
            task=task_named("binary", parts=parts),
            plan=make_training_plan(**{"schedule": "cosine", "seed": 11, **plan}),
            hyperparameters=Hyperparameters(values),
            train=windows["train"],
            validation=windows["val"],
            parts=parts,
        )

    return build


class Silence:
    """A monitor that never interferes."""

    def step(self, *, epoch: int, step: int, phase: str) -> Any:
        return "go_on"

    def epoch(self, line: Any) -> None:
        pass

    def checkpoint(self, state: Any) -> None:
        pass


def weights(trainer: TrainingLoop) -> list[torch.Tensor]:
    return [one.detach().clone() for one in trainer.module.parameters()]


def test_the_same_code_by_import_path_trains_the_same_model(
    trainer: Callable[..., TrainingLoop], part: Callable[..., UserPart]
) -> None:
    """Rewritten versions of scalecore's loss, optimizer and schedule train bitwise equal."""
    own = UserCode(
        loss=part("Bce"),
        optimizer=UserPart(module="torch.optim", name="AdamW", options={"fused": True}),
        schedule=part("linear"),
        metrics=[part("hit_rate")],
    )
    mine, known = trainer(own), trainer(schedule="linear")
    for one in (mine, known):
        assert one.run(Silence()) == "completed"
    assert all(torch.equal(a, b) for a, b in zip(weights(mine), weights(known), strict=True))
    last = mine.progress.curve[-1]
    assert last["hit_rate"] == pytest.approx(last["accuracy"])
    assert last["val_training_loss"] == pytest.approx(last["val_loss"], rel=1e-6)
    assert "val_training_loss" not in known.progress.curve[-1]


def test_a_loss_is_created_with_its_options(
    trainer: Callable[..., TrainingLoop], part: Callable[..., UserPart]
) -> None:
    """Also a torch module; twice the loss is twice the training loss of the same weights."""
    one, two = (trainer(UserCode(loss=part("Weighted", weight=weight))) for weight in (1.0, 2.0))
    losses = []
    for each in (one, two):
        each.optimizer_step()
        losses.append(float(each._loss_sum))
    assert losses[1] == pytest.approx(2 * losses[0])


def test_a_loss_of_one_number_is_weighted_by_the_windows_of_its_micro_batch(
    trainer: Callable[..., TrainingLoop], part: Callable[..., UserPart]
) -> None:
    """A mean over windows therefore trains like their sum, and is not computed over validation windows."""
    mine, known = trainer(UserCode(loss=part("Mean")), micro_batch=8), trainer(micro_batch=8)
    for one in (mine, known):
        one.optimizer_step()
    for a, b in zip(weights(mine), weights(known), strict=True):
        torch.testing.assert_close(a, b)
    assert "val_training_loss" not in mine.evaluate(mine.validation)[1]


def test_g11_a_loss_that_returns_another_shape_ends_the_step(
    trainer: Callable[..., TrainingLoop], part: Callable[..., UserPart]
) -> None:
    """Summing it would silently create another loss."""
    own = trainer(UserCode(loss=part("Reduced")), micro_batch=8)
    with pytest.raises(RefusedError) as caught:
        own.optimizer_step()
    assert str(caught.value) == (
        "own.py:Reduced returned a tensor of shape [], expected a tensor of shape [8]: one loss for each of 8 "
        "windows; a loss that is not a sum over windows must set `over_windows = False` [G11]"
    )


def test_a_loss_that_fails_is_named_with_its_line(
    trainer: Callable[..., TrainingLoop], part: Callable[..., UserPart]
) -> None:
    """The line is the user's, not that of a called library; running out of memory is not an error of the loss."""
    one = part("Wrong")
    with pytest.raises(RefusedError) as caught:
        trainer(UserCode(loss=one)).optimizer_step()
    assert str(caught.value).startswith("own.py:Wrong failed: ")
    assert str(caught.value).endswith(f" ({one.file}, line 48)")
    with pytest.raises(MemoryError):
        trainer(UserCode(loss=part("Large"))).optimizer_step()


def test_a_forecasts_loss_is_reported_on_the_scale_of_training(part: Callable[..., UserPart]) -> None:
    """`val_training_loss` and `train_loss` both use standardised labels; `val_loss` is in the target's unit."""
    from scalecore.api.data_report import TargetScale

    scale = TargetScale(mean=100.0, std=10.0)
    task = task_named("forecast", parts=user_parts(UserCode(loss=part("Squares"))), scale=scale)
    found = task.metrics(torch.tensor([[110.0], [100.0]]).double(), torch.tensor([100.0, 100.0]).double())
    assert found["val_training_loss"] == pytest.approx(0.5)
    assert found["rmse"] == pytest.approx(50**0.5)


@pytest.mark.parametrize("name", ["nothing", "not_a_number", "infinite"])
def test_a_metric_without_a_value_is_none(part: Callable[..., UserPart], name: str) -> None:
    """It is never NaN or an infinity, which JSON does not have."""
    (metric,) = user_parts(UserCode(metrics=[part(name)])).metrics.values()
    assert metric(torch.zeros(3, 1), torch.zeros(3)) is None


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("text", "own.py:text returned str, expected a number, or None if the metric is undefined"),
        ("changes", "own.py:changes failed: ValueError: output array is read-only (FILE, line 81)"),
    ],
)
def test_an_invalid_metric_ends_the_evaluation(part: Callable[..., UserPart], name: str, message: str) -> None:
    """It receives the outputs that are stored, and cannot change them."""
    one = part(name)
    (metric,) = user_parts(UserCode(metrics=[one])).metrics.values()
    with pytest.raises(RefusedError) as caught:
        metric(torch.zeros(3, 1), torch.zeros(3))
    assert str(caught.value) == message.replace("FILE", str(one.file))


def test_an_epoch_without_a_value_is_never_the_best(
    trainer: Callable[..., TrainingLoop], part: Callable[..., UserPart]
) -> None:
    """It counts as no improvement; if no epoch has a value, the trial has none."""
    ranked = trainer(UserCode(metrics=[part("late")]), metric="late", direction="maximize", patience=None)
    ranked.run(Silence())
    assert [one["late"] for one in ranked.progress.curve] == [None, None, pytest.approx(1 / 3), pytest.approx(1 / 4)]
    assert ranked.progress.best is not None
    assert (ranked.progress.best["epoch"], ranked.value()) == (3, pytest.approx(1 / 3))

    never = trainer(UserCode(metrics=[part("nothing")]), metric="nothing", direction="maximize", patience=2)
    never.run(Silence())
    assert (len(never.progress.curve), never.value()) == (2, None)


def test_the_state_of_an_optimizer_is_restored(
    trainer: Callable[..., TrainingLoop], part: Callable[..., UserPart], tmp_path: Path
) -> None:
    """A resumed training is bitwise equal: momentum is part of the checkpoint."""
    own = UserCode(optimizer=UserPart(module="torch.optim", name="SGD", options={"momentum": 0.9}))
    whole, first = trainer(own), trainer(own)
    whole.run(Silence())
    for _ in range(5):
        first.optimizer_step()
    checkpoint.save(tmp_path, first.state())
    found = checkpoint.load_newest([tmp_path])
    assert found is not None
    second = trainer(own)
    second.restore(found[0])
    second.run(Silence())
    assert all(torch.equal(a, b) for a, b in zip(weights(whole), weights(second), strict=True))


def test_biases_and_norms_have_no_decay(trainer: Callable[..., TrainingLoop]) -> None:
    """As with AdamW, only matrices have weight decay."""
    own = trainer(UserCode(optimizer=UserPart(module="torch.optim", name="SGD")))
    assert [group["weight_decay"] for group in own.optimizer.param_groups] == [1e-2, 0.0]


def test_an_optimizer_with_a_state_that_no_checkpoint_can_store_is_refused(part: Callable[..., UserPart]) -> None:
    """The smoke step refuses it, since an interrupted trial could not resume."""
    cpu = torch.device("cpu")
    assert optimizer_problem(UserCode(), device=cpu) is None
    assert optimizer_problem(UserCode(optimizer=UserPart(module="torch.optim", name="Adam")), device=cpu) is None
    problem = str(optimizer_problem(UserCode(optimizer=part("Odd")), device=cpu))
    assert problem.startswith("own.py:Odd has a state that cannot be stored in a checkpoint (")
    assert problem.endswith("; its state_dict() must contain only tensors, numbers, strings, lists and dictionaries")


def test_a_schedule_that_leaves_its_range_ends_the_trial(
    trainer: Callable[..., TrainingLoop], part: Callable[..., UserPart]
) -> None:
    """The message contains the step: not all trainings can be tried in advance."""
    own = trainer(UserCode(schedule=part("leaves")))
    with pytest.raises(RefusedError) as caught:
        own.run(Silence())
    assert str(caught.value) == ("own.py:leaves returned 1.5 at step 5, expected a share of the peak between 0 and 1")


def test_g26_a_changed_file_is_refused(part: Callable[..., UserPart]) -> None:
    """An attempt only uses the content that its driver checked."""
    with pytest.raises(RefusedError, match=r"changed since the run began .* \[G26\]$"):
        user_parts(UserCode(loss=evolve(part("Bce"), sha256="0" * 64)))
