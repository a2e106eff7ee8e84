"""Find losses, metrics, optimizers and schedules by import path, and check them.

    found, problems = find_user_code(options, TrainingChoices(metric="auc"), task="binary")

Only the code that the experiment file names is imported, with its own imports.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import evolve, field, frozen

from scalecore.api.metrics import MEASURED, TASK_NAMES
from scalecore.api.options import Imported, ImportPath
from scalecore.api.plugins import ImportPathError, import_code
from scalecore.api.trainer import TrainingChoices
from scalecore_torch.options import TorchOptions
from scalecore_torch.user_code_checks import (
    MadeLoss,
    loss_made,
    metric_problem,
    optimizer_problem,
    schedule_problem,
    state_bytes,
    takes,
    takes_decay,
    uses_warmup,
)

RESERVED = (
    *("epoch", "learning_rate", "gradient_norm", "clipped_share", "train_seconds", "evaluation_seconds"),
    *("confusion_matrix", "predictions", "intervals", "without_interval", "val_training_loss", "pinball", "coverage"),
    *("metrics", "given"),
)
"""Keys of the learning curve, and attributes of the class of its lines, that are not metrics of every task."""


@frozen(kw_only=True)
class UserPart:
    """Code by import path with its options and, if it is in a file, the checksum of the checked content."""

    name: str
    module: str | None = None
    file: str | None = None
    sha256: str | None = None
    options: Mapping[str, object] = field(factory=dict)

    @property
    def use(self) -> ImportPath:
        """The import path."""
        return ImportPath(name=self.name, module=self.module, file=None if self.file is None else Path(self.file))


@frozen(kw_only=True)
class UserCode:
    """All code that an experiment names by import path; every attempt receives it with its spec."""

    loss: UserPart | None = None
    tasks: Sequence[str] = ()
    """The tasks of the loss."""
    over_windows: bool = True
    """Whether the loss is a sum over windows."""
    metrics: Sequence[UserPart] = ()
    optimizer: UserPart | None = None
    optimizer_state: float | None = None
    """Bytes per parameter of the optimizer's state; None if they could not be measured."""
    schedule: UserPart | None = None

    @property
    def parts(self) -> tuple[UserPart, ...]:
        """All parts."""
        single = (self.loss, self.optimizer, self.schedule)
        return (*(one for one in single if one is not None), *self.metrics)

    @property
    def metric_names(self) -> tuple[str, ...]:
        """The names of the metrics in learning curves and as the objective."""
        return tuple(name_of(one.use) for one in self.metrics)

    def loss_problem(self, *, task: str) -> str | None:
        """Why the loss does not fit the task (guard G11); None if it does."""
        if self.loss is None or task in self.tasks:
            return None
        mine = " and ".join(TASK_NAMES[one] for one in self.tasks)
        return f"{self.loss.use.label} is for {mine}, but the target is {TASK_NAMES[task]} [G11]"


NO_USER_CODE = UserCode()
KeyPath = tuple[str | int, ...]


def name_of(metric: ImportPath) -> str:
    """The name of a user's metric: its function's name."""
    return metric.name.rpartition(".")[2]


def find_user_code(
    training: TorchOptions, choices: TrainingChoices, *, task: str | None
) -> tuple[UserCode, list[tuple[KeyPath, str]]]:
    """The code that the options name, and its problems by key below `training` or `objective`.

    `task` is None if only the data determines it.
    """
    finder = _Finder(problems=[])
    own = evolve(NO_USER_CODE, metrics=tuple(finder.metrics(training.metrics)))
    if isinstance(training.loss, Imported):
        made, part = finder.loss(training.loss, task=task)
        if made is not None:
            own = evolve(own, loss=part, tasks=made.tasks, over_windows=made.over_windows)
            if task is not None and (problem := own.loss_problem(task=task)) is not None:
                finder.note(("training", "loss", "use"), problem)
    if training.optimizer is not None:
        part, state = finder.optimizer(training.optimizer, named={*choices.varied, *choices.fixed})
        own = evolve(own, optimizer=part, optimizer_state=state)
    if isinstance(training.schedule, ImportPath):
        own = evolve(own, schedule=finder.schedule(training.schedule, varied=choices.varied))
    if training.launches == "graph" and (own.loss or own.optimizer):
        finder.note(
            ("training", "launches"), "graph supports only scalecore's own losses and optimizer; use plain or few"
        )
    if choices.metric in map(name_of, training.metrics) and not choices.directed:
        finder.note(
            ("objective", "metric"),
            f"{choices.metric} is a custom metric: set objective.direction",
        )
    if choices.metric == "val_training_loss" and not own.over_windows:
        finder.note(("objective", "metric"), "a loss that is not a sum over windows has no val_training_loss [G23]")
    return own, finder.problems


@frozen(kw_only=True)
class _Finder:
    """Collects problems, so that one check reports all of them."""

    problems: list[tuple[KeyPath, str]]

    def note(self, key: KeyPath, text: str) -> None:
        self.problems.append((key, text))

    def _found(self, key: KeyPath, path: ImportPath) -> tuple[Any, UserPart | None]:
        try:
            code = import_code(path)
        except ImportPathError as error:
            self.note(key, str(error))
            return None, None
        if not callable(code.found):
            self.note(key, f"{path.label} is not callable: its type is {type(code.found).__name__}")
            return None, None
        file = None if path.file is None else str(path.file)
        return code.found, UserPart(name=path.name, module=path.module, file=file, sha256=code.sha256)

    def _with_options(self, key: KeyPath, one: Imported, *, groups: bool = False) -> tuple[Any, UserPart | None]:
        """The code if it accepts the options; for an optimizer with `groups`, also the arguments that training
        passes."""
        found, part = self._found((*key, "use"), one.use)
        if part is None:
            return None, None
        given = ("lr", *(["weight_decay"] if takes_decay(found) else [])) if groups else ()
        first = ("groups",) if groups else ()
        wrong = list(takes(found, one.options, label=one.use.label, groups=first, given=given))
        for name, text in wrong:
            self.note((*key, name or "use"), text)
        return (None, None) if wrong else (found, evolve(part, options=one.options))

    def loss(self, one: Imported, *, task: str | None) -> tuple[MadeLoss | None, UserPart | None]:
        key = ("training", "loss")
        if "kind" in one.options:
            self.note((*key, "kind"), "set a loss by `kind` or by `use`, not both")
            return None, None
        found, part = self._with_options(key, one)
        if part is None:
            return None, None
        made = loss_made(found, one.options, label=one.use.label, tasks=tuple(TASK_NAMES), task=task)
        if isinstance(made, str):
            self.note((*key, "use"), made)
            return None, None
        return made, part

    def metrics(self, paths: Sequence[ImportPath]) -> Iterator[UserPart]:
        taken = {*RESERVED, *(name for names in MEASURED.values() for name in names)}
        for index, path in enumerate(paths):
            key, name = ("training", "metrics", index), name_of(path)
            found, part = self._found(key, path)
            if part is None:
                continue
            problem = metric_problem(found, label=path.label)
            if problem is None and name in taken:
                problem = f"{name} is already a metric, or listed twice; rename the function"
            if problem is not None:
                self.note(key, problem)
                continue
            taken.add(name)
            yield part

    def optimizer(self, one: Imported, *, named: Collection[str]) -> tuple[UserPart | None, float | None]:
        key = ("training", "optimizer")
        for name, given in (("lr", "learning_rate"), ("weight_decay", "weight_decay")):
            if name in one.options:
                self.note((*key, name), f"is not an option here: the hyper-parameter {given} sets it")
                return None, None
        found, part = self._with_options(key, one, groups=True)
        if part is None:
            return None, None
        if (problem := optimizer_problem(found, one.options, label=one.use.label)) is not None:
            self.note((*key, "use"), problem)
            return None, None
        if "weight_decay" in named and not takes_decay(found):
            text = f"{one.use.label} does not accept weight_decay, which training.hyperparameters or search.space sets"
            self.note((*key, "use"), text)
        return part, state_bytes(found, one.options)

    def schedule(self, path: ImportPath, *, varied: Collection[str]) -> UserPart | None:
        key = ("training", "schedule")
        found, part = self._found(key, path)
        if part is None:
            return None
        problem = schedule_problem(found, label=path.label)
        if problem is None and "warmup_steps" in varied and not uses_warmup(found):
            problem = f"{path.label} ignores warmup_steps, which search.space varies [G03]"
        if problem is not None:
            self.note(key, problem)
        return part
