"""Losses, metrics, optimizers and schedules by import path, as `check` reports them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scalecore.api.errors import ExperimentError
from scalecore.config.experiment_json import to_plain
from scalecore.config.import_paths import without_folders
from scalecore.config.resolve import load_resolved
from scalecore.config.resolved import Resolved
from scalecore.config.stored_paths import Move
from scalecore.plugins.registry import load_registry
from scalecore.store.identity import training_content
from scalecore_torch.component import TorchTrainer
from scalecore_torch.user_code import UserCode


def own_of(resolved: Resolved) -> UserCode:
    """The code that the trainer found."""
    assert isinstance(resolved.training, TorchTrainer)
    return resolved.training.own


CODE = '''\
import torch
import torch.nn.functional as F


class Margin:
    """Cross-entropy of scaled logits."""

    tasks = ("binary",)

    def __init__(self, scale=1.0):
        if scale <= 0:
            raise ValueError("scale must be positive")
        self.scale = scale

    def __call__(self, logits, labels):
        return F.softplus(-self.scale * logits[:, 0] * (2 * labels - 1))


class Mean(Margin):
    """One number for all windows, and so says."""

    over_windows = False

    def __call__(self, logits, labels):
        return super().__call__(logits, labels).mean()


class Silent(Margin):
    tasks = None


class Unreduced(Margin):
    def __call__(self, logits, labels):
        return super().__call__(logits, labels).mean()


class Wide(Margin):
    def __call__(self, logits, labels):
        return F.softplus(logits) * labels


class Detached(Margin):
    def __call__(self, logits, labels):
        return super().__call__(logits, labels).detach()


class Plain(Margin):
    def __call__(self, logits, labels):
        return 3.0


class Failing(Margin):
    def __call__(self, logits, labels):
        raise KeyError("nothing")


class OfOne(Margin):
    def __call__(self, logits):
        return logits


class Learned(torch.nn.Module):
    tasks = ("binary",)

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(()))

    def forward(self, logits, labels):
        return self.weight * logits[:, 0]


class Squares:
    tasks = ("forecast",)

    def __call__(self, outputs, labels):
        return (outputs[:, 0] - labels) ** 2


def number():
    return 3


def hit_rate(outputs, labels):
    return ((outputs[:, 0] > 0) == (labels > 0.5)).mean()


def accuracy(outputs, labels):
    return 1.0


class Closure(torch.optim.SGD):
    def step(self, closure):
        super().step()


class NoDecay(torch.optim.SGD):
    def __init__(self, params, lr, momentum=0.0):
        super().__init__(params, lr=lr, momentum=momentum)


def not_one(groups, lr, weight_decay):
    return 3


def triangle(step, warmup_steps, total_steps):
    return 1 - step / total_steps


def warm(step, warmup_steps, total_steps):
    return min(1.0, step / warmup_steps)


def above(step, warmup_steps, total_steps):
    return 1 + step


def text(step, warmup_steps, total_steps):
    return "fast"


def undefined(step, warmup_steps, total_steps):
    return 0 / step


value = 3
'''


@pytest.fixture
def resolve(experiment: Callable[..., Path], tmp_path: Path) -> Callable[..., Resolved]:
    """Resolve the tiny experiment with `training:` changed; other keywords are sections."""
    (tmp_path / "own.py").write_text(CODE)

    def resolve(training: dict[str, Any] | None = None, **sections: Any) -> Resolved:
        path = experiment(training=training or {}, **sections)
        return load_resolved(path, registry=load_registry(no_plugins=True))[1]

    return resolve


def problems(resolve: Callable[..., Resolved], **arguments: Any) -> list[str]:
    """The messages of a refused experiment, without positions."""
    with pytest.raises(ExperimentError) as caught:
        resolve(**arguments)
    return [line.split(": ", 1)[1] for line in str(caught.value).splitlines()]


def test_code_named_in_the_file_is_found(resolve: Callable[..., Resolved], tmp_path: Path) -> None:
    """With its options, the content of the file, and the properties of the loss."""
    training = {
        "loss": {"use": "./own.py:Margin", "scale": 0.5},
        "metrics": ["own.py:hit_rate"],
        "optimizer": {"use": "torch.optim:SGD", "momentum": 0.9},
        "schedule": f"{tmp_path}/own.py:triangle",
    }
    resolved = resolve(training, objective={"metric": "hit_rate", "direction": "maximize"})
    own = own_of(resolved)
    assert own.loss is not None
    assert own.optimizer is not None
    assert own.schedule is not None
    assert [one.use.label for one in own.parts] == [
        "own.py:Margin",
        "torch.optim:SGD",
        "own.py:triangle",
        "own.py:hit_rate",
    ]
    assert (own.tasks, own.over_windows, own.metric_names) == (("binary",), True, ("hit_rate",))
    assert (own.loss.options, own.optimizer.options) == ({"scale": 0.5}, {"momentum": 0.9})
    assert own.loss.sha256 == own.schedule.sha256
    assert len(own.loss.sha256 or "") == 64
    assert own.optimizer.sha256 is None
    assert not list(tmp_path.rglob("*.pyc"))
    plain = to_plain(resolved)["training"]
    assert plain["loss"] == {"use": f"{tmp_path}/own.py:Margin", "scale": 0.5}
    assert plain["metrics"] == [f"{tmp_path}/own.py:hit_rate"]
    assert plain["schedule"] == f"{tmp_path}/own.py:triangle"
    assert plain["optimizer"] == {"use": "torch.optim:SGD", "momentum": 0.9}


@pytest.mark.parametrize(
    ("optimizer", "state"),
    [("torch.optim:SGD", 0.0), ({"use": "torch.optim:SGD", "momentum": 0.9}, 4.0), ("torch.optim:AdamW", 8.0)],
)
def test_the_state_of_an_optimizer_is_measured(resolve: Callable[..., Resolved], optimizer: Any, state: float) -> None:
    """In bytes per parameter, by one step: the closed form of a trial's memory uses it."""
    assert own_of(resolve({"optimizer": optimizer})).optimizer_state == state


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        ("./own.py:Margn", "training.loss: FOLDER/own.py has no Margn; did you mean Margin?"),
        ("./gone.py:Margin", "training.loss: FOLDER/gone.py cannot be read (No such file or directory)"),
        (
            "gone:Margin",
            "training.loss: there is no module 'gone' in this environment; the import path of a file is ./FILE.py:NAME",
        ),
        ("./own.py:value", "training.loss: own.py:value is not callable: its type is int"),
        ("own.txt/x:value", "training.loss: FOLDER/own.txt/x is not a .py file"),
        (
            {"use": "./own.py:Margin", "scal": 2},
            "training.loss.scal: unknown option of own.py:Margin; did you mean scale?",
        ),
        ({"use": "./own.py:Squares", "a": 2}, "training.loss.a: unknown option of own.py:Squares; it has no options"),
        (
            {"use": "./own.py:Margin", "scale": -1},
            "training.loss.use: own.py:Margin cannot be created with these options: ValueError: scale must be positive "
            "(FOLDER/own.py, line 12)",
        ),
        (
            {"use": "./own.py:Margin", "kind": "bce"},
            "training.loss.kind: set a loss by `kind` or by `use`, not both",
        ),
        ("./own.py:Squares", "training.loss: own.py:Squares is for a forecast, but the target is a binary task [G11]"),
        (
            "./own.py:number",
            "training.loss: own.py:number creates an object of type int, which cannot be called as loss(logits, "
            "labels)",
        ),
        (
            "./own.py:Silent",
            'training.loss: own.py:Silent must declare its tasks, as in `tasks = ("binary",)`, from binary, '
            "multiclass, forecast; it has no `tasks`",
        ),
        (
            "./own.py:Unreduced",
            "training.loss: own.py:Unreduced returned a tensor of shape [], expected a tensor of shape [4]: one loss "
            "for each of 4 windows; a loss that is not a sum over windows must set `over_windows = False`",
        ),
        (
            "./own.py:Wide",
            "training.loss: own.py:Wide returned a tensor of shape [4, 4], expected a tensor of shape [4]: one loss "
            "for each of 4 windows",
        ),
        (
            "./own.py:Plain",
            "training.loss: own.py:Plain returned an object of type float, expected a tensor of shape [4]: one loss "
            "for each of 4 windows",
        ),
        (
            "./own.py:Detached",
            "training.loss: own.py:Detached returned a tensor without a gradient: compute it from the logits with "
            "torch operations",
        ),
        (
            "./own.py:Failing",
            "training.loss: own.py:Failing failed on logits [4, 1] and labels [4]: KeyError: 'nothing' "
            "(FOLDER/own.py, line 54)",
        ),
        (
            "./own.py:OfOne",
            "training.loss: own.py:OfOne creates a loss that cannot be called as loss(logits, labels): too many "
            "positional arguments",
        ),
        (
            "./own.py:Learned",
            "training.loss: own.py:Learned has parameters, which no optimizer would train; use buffers or numbers",
        ),
        (
            "./own.py",
            "training.loss: expected a mapping or an import path (module:Name or ./file.py:Name) or null, got string "
            "'./own.py'",
        ),
    ],
)
def test_g11_a_loss_that_does_not_do_is_refused(
    resolve: Callable[..., Resolved], tmp_path: Path, loss: Any, message: str
) -> None:
    """With its position, the problem and a remedy."""
    assert problems(resolve, training={"loss": loss}) == [message.replace("FOLDER", str(tmp_path))]


def test_a_loss_may_return_one_number(resolve: Callable[..., Resolved]) -> None:
    """Then it is not a sum over windows, and nothing is measured per validation window."""
    training: dict[str, Any] = {"loss": "./own.py:Mean"}
    assert not own_of(resolve(training)).over_windows
    assert problems(resolve, training=training, objective={"metric": "val_training_loss"}) == [
        "objective.metric: a loss that is not a sum over windows has no val_training_loss [G23]"
    ]


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        ("./own.py:Margin", "own.py:Margin is a class; a metric must be a function(outputs, labels)"),
        ("./own.py:number", "own.py:number cannot be called as number(outputs, labels): too many positional arguments"),
        ("./own.py:accuracy", "accuracy is already a metric, or listed twice; rename the function"),
        ("./own.py:hit_rates", "FOLDER/own.py has no hit_rates; did you mean hit_rate?"),
    ],
)
def test_an_unsuitable_metric_is_refused(
    resolve: Callable[..., Resolved], tmp_path: Path, metric: str, message: str
) -> None:
    """Also one with the name of another metric."""
    expected = f"training.metrics.1: {message}".replace("FOLDER", str(tmp_path))
    assert problems(resolve, training={"metrics": ["./own.py:hit_rate", metric]}) == [expected]


def test_a_user_metric_ranks_only_with_a_direction(resolve: Callable[..., Resolved]) -> None:
    """Only the user knows which direction is better; a name that is not a metric is refused [G23]."""
    training, objective = {"metrics": ["./own.py:hit_rate"]}, {"metric": "hit_rate"}
    assert problems(resolve, training=training, objective=objective) == [
        "objective.metric: hit_rate is a custom metric: set objective.direction"
    ]
    resolve(training, objective={**objective, "direction": "minimize"})
    (message,) = problems(resolve, objective={**objective, "direction": "minimize"})
    assert message.startswith("objective.metric: 'hit_rate' is not measured; the task binary measures accuracy, ")


@pytest.mark.parametrize(
    ("optimizer", "message"),
    [
        (
            {"use": "torch.optim:SGD", "momentun": 0.9},
            "training.optimizer.momentun: unknown option of torch.optim:SGD; did you mean momentum?",
        ),
        (
            {"use": "torch.optim:SGD", "lr": 0.1},
            "training.optimizer.lr: is not an option here: the hyper-parameter learning_rate sets it",
        ),
        (
            "./own.py:not_one",
            "training.optimizer: own.py:not_one creates an object of type int, which is not a torch.optim.Optimizer",
        ),
        (
            "./own.py:Closure",
            "training.optimizer: own.py:Closure cannot be used: its step requires more than gradients, step(): "
            "missing a required argument: 'closure'",
        ),
        (
            "./own.py:triangle",
            "training.optimizer: own.py:triangle cannot be called as triangle(groups, lr=...): missing a required "
            "argument: 'warmup_steps'",
        ),
    ],
)
def test_an_unsuitable_optimizer_is_refused(resolve: Callable[..., Resolved], optimizer: Any, message: str) -> None:
    """For its options, its result, or the arguments of its step."""
    assert problems(resolve, training={"optimizer": optimizer}) == [message]


def test_g03_weight_decay_that_an_optimizer_does_not_take_is_refused(resolve: Callable[..., Resolved]) -> None:
    """If the file sets or varies it, which would have no effect."""
    training = {"optimizer": "./own.py:NoDecay"}
    resolve(training)
    message = "own.py:NoDecay does not accept weight_decay, which training.hyperparameters or search.space sets"
    fixed = {**training, "hyperparameters": {"weight_decay": 0.1}}
    assert problems(resolve, training=fixed) == [f"training.optimizer: {message}"]
    search = {"use": "random", "trials": 2, "space": {"weight_decay": {"uniform": [0.1, 0.2]}}}
    assert problems(resolve, training=training, search=search) == [f"training.optimizer: {message}"]


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        (
            "cosinus",
            "expected one of cosine, linear, constant or an import path (module:Name or ./file.py:Name), got string "
            "'cosinus'; did you mean cosine?",
        ),
        (
            "./own.py:hit_rate",
            "own.py:hit_rate cannot be called as hit_rate(step, warmup_steps, total_steps): too many positional "
            "arguments",
        ),
        ("./own.py:above", "own.py:above returned 2 at step 1, expected a share of the peak between 0 and 1"),
        ("./own.py:text", "own.py:text returned 'fast' at step 0, expected a share of the peak between 0 and 1"),
        (
            "./own.py:undefined",
            "own.py:undefined failed at step 0 of 1000: ZeroDivisionError: division by zero (FOLDER/own.py, line 123)",
        ),
    ],
)
def test_an_unsuitable_schedule_is_refused(
    resolve: Callable[..., Resolved], tmp_path: Path, schedule: str, message: str
) -> None:
    """It is called for every step of a training run of 1,000 steps."""
    expected = f"training.schedule: {message}".replace("FOLDER", str(tmp_path))
    assert problems(resolve, training={"schedule": schedule}) == [expected]


def test_g03_a_varied_warm_up_needs_a_schedule_that_uses_it(resolve: Callable[..., Resolved]) -> None:
    """Otherwise every value would train the same model."""
    search = {"use": "random", "trials": 2, "space": {"warmup_steps": {"int": [5, 10]}}}
    assert problems(resolve, training={"schedule": "./own.py:triangle"}, search=search) == [
        "training.schedule: own.py:triangle ignores warmup_steps, which search.space varies [G03]"
    ]
    resolve({"schedule": "./own.py:warm"}, search=search)


@pytest.mark.parametrize("part", [{"loss": "./own.py:Margin"}, {"optimizer": "torch.optim:SGD"}])
def test_captured_steps_are_not_offered_with_own_code(resolve: Callable[..., Resolved], part: dict[str, Any]) -> None:
    """A replay might not do what the code does."""
    assert problems(resolve, training={**part, "launches": "graph"}) == [
        "training.launches: graph supports only scalecore's own losses and optimizer; use plain or few"
    ]


def test_two_files_of_one_name_are_refused(resolve: Callable[..., Resolved], tmp_path: Path) -> None:
    """Versions name a file without its folder."""
    other = tmp_path / "other" / "own.py"
    other.parent.mkdir()
    other.write_text(CODE)
    training = {"loss": "./own.py:Margin", "metrics": ["other/own.py:hit_rate"]}
    assert problems(resolve, training=training) == [
        f"training: two files are named own.py: {tmp_path}/own.py and {other}; rename one of them"
    ]


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("def f(:\n", "SyntaxError: invalid syntax (bad.py, line 1)"),
        ("\nraise ValueError('no')\n", "ValueError: no (FOLDER/bad.py, line 2)"),
        ("import sys\nsys.exit(3)\n", "it called sys.exit(3)"),
        ("import gone_module\n", "ModuleNotFoundError: No module named 'gone_module' (FOLDER/bad.py, line 1)"),
    ],
)
def test_a_file_that_cannot_be_imported_is_named(
    resolve: Callable[..., Resolved], tmp_path: Path, code: str, reason: str
) -> None:
    """With the line that failed."""
    (tmp_path / "bad.py").write_text(code)
    expected = f"training.loss: importing {tmp_path}/bad.py failed: {reason}".replace("FOLDER", str(tmp_path))
    assert problems(resolve, training={"loss": "./bad.py:Loss"}) == [expected]


def test_identity_has_the_content_of_a_file_and_not_its_place(resolve: Callable[..., Resolved], tmp_path: Path) -> None:
    """A trial with another loss is another trial, even if the file has the same name; defaults change nothing."""
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "own.py").write_text(CODE)
    here, below = (training_content(resolve({"loss": f"{one}:Margin"})) for one in ("./own.py", "./below/own.py"))
    assert here == below
    assert here["loss"]["name"] == "Margin"
    (tmp_path / "own.py").write_text(f"{CODE}\n# another thought\n")
    assert training_content(resolve({"loss": "./own.py:Margin"})) != here
    plain = resolve({})
    assert not own_of(plain).parts
    assert training_content(plain) == to_plain(plain)["training"]


def test_a_moved_import_path_is_found() -> None:
    """At the new place of the file, with its name; a comparison of settings ignores folders."""
    assert Move(Path("/a/p/study"), Path("/b/p/study")).apply(["/a/p/own.py:x"]) == ["/a/p/own.py:x"]
    assert without_folders({"use": "/a/own.py:X", "metrics": ["/b/m.py:f", "torch.optim:SGD"], "n": 1}) == {
        "use": "own.py:X",
        "metrics": ["m.py:f", "torch.optim:SGD"],
        "n": 1,
    }


def test_check_imports_torch_only_for_code_that_does(experiment: Callable[..., Path], tmp_path: Path) -> None:
    """A metric or schedule in plain Python is checked without torch."""
    (tmp_path / "light.py").write_text("def flat(step, warmup_steps, total_steps):\n    return 1.0\n")
    path = experiment(training={"schedule": "./light.py:flat"})
    code = (
        "import sys; from scalecore.config.resolve import load_resolved; from scalecore.plugins.registry import "
        f"load_registry; load_resolved({str(path)!r}, registry=load_registry(no_plugins=True)); "
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
