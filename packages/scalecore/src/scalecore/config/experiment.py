"""The experiment file as attrs classes: every key, its type, bounds, default and help.

The reference is generated from this module.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Le, Lt, MaxLen, MinLen
from attrs import field, fields_dict, frozen

from scalecore.api.options import Pattern, option
from scalecore.api.space import Distribution

LONGEST_NAME = 100
DEFAULT_TRAINER = "torch"
NAME = r"[A-Za-z0-9_][A-Za-z0-9_.-]*"
_NAME_RULE = "a name may contain letters, digits, `-`, `_` and `.`, and must not start with `-` or `.`"


@frozen(kw_only=True)
class ComponentRef:
    """`use:` names a component of the registry; the other keys are its options.

    A bare string is a component without options.
    """

    use: str
    options: dict[str, Any] = field(factory=dict)
    """The raw options; the component's options class structures them when it is resolved."""


@frozen(kw_only=True)
class Budget:
    """A number of parameters such as `2M`, `35M`, `1.5B` or `250000`, with its original text."""

    text: str
    parameters: int


@frozen(kw_only=True)
class Search:
    """`search:` what to vary, in how many trials, with which strategy; other keys are options of the strategy."""

    component: ComponentRef
    trials: Annotated[int, Ge(1)] = option(
        50, help="Total number of trials; a resumed study counts its earlier trials."
    )
    budget: Budget | None = option(
        None,
        help="Parameters of a model: a number, or text such as `2M` or `1.5B`. Without it, models may have any size.",
    )
    tolerance: Annotated[float, Gt(0), Lt(1)] = option(
        0.25, help="Largest deviation of a model from the budget, as a fraction of the budget."
    )
    exclude: list[str] = option(
        factory=list,
        help="Shapes to exclude, as conditions on the dimensions: `d_model == 1024 and n_layers >= 256`.",
    )
    space: dict[str, Distribution] = option(
        factory=dict,
        help="Hyper-parameters to vary: `log_uniform: [low, high]`, `uniform: [low, high]`, `int: [low, high]` "
        "(with `step` or `log`), or `choice: [...]`. The trainer and the model define the names.",
    )


@frozen(kw_only=True)
class Objective:
    """`objective:` the metric that ranks trials."""

    metric: str = option("val_loss", help="A metric of the validation split.")
    direction: Literal["minimize", "maximize"] = option("minimize", help="The better direction; must match the metric.")
    reduction: Literal["best", "last"] = option("best", help="Use the value of the best or the last epoch.")


@frozen(kw_only=True)
class EarlyStopping:
    """`early_stopping:` end a trial when its objective stops improving."""

    patience: Annotated[int, Ge(1)] = option(10, help="End the trial after this many epochs without improvement.")
    min_delta: Annotated[float, Ge(0)] = option(
        0.001, help="Only a larger change of the objective counts as an improvement; in the unit of the objective."
    )


@frozen(kw_only=True)
class Training:
    """`training:` how to train each trial, and with which trainer; other keys are options of the trainer.

    Hyper-parameters in `search.space` override those given here.
    """

    component: ComponentRef = field(factory=lambda: ComponentRef(use=DEFAULT_TRAINER))
    early_stopping: EarlyStopping | None = option(factory=EarlyStopping, help="When to stop early; `null` for never.")
    hyperparameters: dict[str, Any] = option(
        factory=dict,
        help="Fixed hyper-parameters of the trainer or the model, for example `epochs: 20`.",
    )
    device: Literal["auto", "cpu", "cuda", "mps"] = option(
        "auto",
        help="Where to train; `auto` uses a GPU if available. All trials of a study train on the device of its first "
        "smoke step. [G48]",
    )
    threads: Annotated[int, Ge(1)] | Literal["auto"] = option(
        "auto", help="CPU threads per trial; `auto` divides the cores available to this process among the slots."
    )
    checkpoint_every: Annotated[float, Gt(0)] = option(60.0, help="Seconds between two checkpoints of a running trial.")
    checkpoint_epochs: Annotated[int, Ge(1)] | None = option(
        None, help="Also write a checkpoint after this many epochs, however short; `null` for by time only."
    )
    keep_weights: Annotated[int, Ge(0)] = option(
        3,
        help="Number of best trials to keep the weights of the best epoch for, in `weights/`; 0 for none, and without "
        "metrics of the training part.",
    )


@frozen(kw_only=True)
class Retry:
    """`retry:` how often to retry a trial after an attempt that crashed or ran out of memory."""

    crash: Annotated[int, Ge(0), Le(100)] = option(
        2, help="Retries after a crash or a kill from outside, from the last checkpoint."
    )
    out_of_memory: Annotated[int, Ge(0), Le(20)] = option(
        3, help="Retries after running out of memory, each with half the micro-batch."
    )


@frozen(kw_only=True)
class Execution:
    """`execution:` where and how attempts run; other keys are options of the executor."""

    component: ComponentRef = field(factory=lambda: ComponentRef(use="local"))
    slots: Annotated[int, Ge(1)] | Literal["auto"] = option(
        1,
        help="Trials to run at the same time if memory permits; `auto`: one per GPU, or as many as the cores allow.",
    )
    time_limit: Annotated[float, Gt(0)] | None = option(
        None, help="Hours after which the study ends as timed out, with a checkpoint; `scalecore run` resumes it."
    )
    hang_after: Annotated[float, Gt(0)] = option(
        600.0, help="Seconds without a step after which an attempt is considered hung and its trial timed out."
    )
    admission_wait: Annotated[float, Gt(0)] | None = option(
        21600.0,
        help="Seconds that a trial waits for memory that other programs use, while no other trial of the study runs, "
        "before it ends as `out_of_memory`; `null` for no limit. [G40]",
    )
    stop_grace: Annotated[float, Gt(0)] = option(
        60.0, help="Seconds that a stopped attempt may take to write its checkpoint."
    )
    keep_awake: bool = option(
        True, help="Ask the system not to fall asleep while the study runs, with `systemd-inhibit` or `caffeinate`."
    )
    retry: Retry = option(factory=Retry, help="How often to retry a trial.")


@frozen(kw_only=True)
class Guards:
    """`guards:` the least validation data of a study, and the margin for comparing budgets."""

    min_validation_samples: Annotated[int, Ge(1)] = option(
        100, help="Minimum of effective validation samples: windows divided by the overlap of their labels. [G02]"
    )
    min_validation_positives: Annotated[int, Ge(1)] = option(
        20, help="Minimum of effective validation samples of the rarer class. [G02]"
    )
    margin: Annotated[float, Gt(0)] | None = option(
        None,
        help="Smallest difference of the objective that matters when budgets are compared; set it before the study. "
        "[G14]",
    )


CONFIRM = "confirm"
"""The analysis whose options are those of the key `confirm`."""


@frozen(kw_only=True)
class Experiment:
    """A checked experiment file with all defaults filled in."""

    name: Annotated[str, MinLen(1), MaxLen(LONGEST_NAME), Pattern(NAME, _NAME_RULE)] = option(
        help="Name of the study: letters, digits, `-`, `_` and `.`; part of file names."
    )
    description: Annotated[str, MaxLen(10_000)] | None = option(
        None, help="Free text about the study, several lines if needed: shown by `plan`, `status` and the report."
    )
    seed: Annotated[int, Ge(0), Lt(2**63)] = option(0, help="Seed of all random draws.")
    output: Path | None = option(None, help="The study's folder; by default `studies/NAME` in the working directory.")
    plugins: list[Path] = option(
        factory=list,
        help="Python files with your own components, used like installed plugins; `scalecore new` creates one. Their "
        "content is part of the study's code. [G26]",
    )
    dataset: ComponentRef = field(metadata={"help": "The data, the target and the splits."})
    model: ComponentRef = field(metadata={"help": "The model family."})
    search: Search = field(metadata={"help": "What to vary, in how many trials, with which strategy."})
    objective: Objective = option(factory=Objective, help="The metric that ranks trials.")
    training: Training = option(factory=Training, help="How to train each trial.")
    execution: Execution = option(factory=Execution, help="Where and how attempts run.")
    guards: Guards = option(factory=Guards, help="The least validation data, and the margin for comparing budgets.")
    monitors: list[ComponentRef] = option(factory=list, help="Hardware monitors.")
    loggers: list[ComponentRef] = option(
        factory=lambda: [ComponentRef(use="console"), ComponentRef(use="files")],
        help="Where to write results.",
    )
    confirm: dict[str, Any] | None = option(
        None,
        help="Retrain the best trials on fresh seeds once the search is complete, before the other analyses: options "
        "of analysis `confirm`, as in `{top: 3, seeds: 5}`. [G14]",
    )
    analyses: list[ComponentRef] = option(
        factory=list,
        help="Analyses to run once the study, or every study of a campaign, is complete.",
    )
    sweep: dict[str, list[Any]] = option(
        factory=dict,
        help="Dotted keys of this file, each with a list of values, such as `search.budget: [2M, 20M]`: one study per "
        "combination, run in order as one campaign.",
    )


def known_keys(section: type) -> tuple[str, ...]:
    """The keys of `search:`, `training:` or `execution:` that are not options of the component."""
    return tuple(name for name in fields_dict(section) if name != "component")
