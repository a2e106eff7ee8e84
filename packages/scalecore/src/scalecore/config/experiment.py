"""The experiment file as attrs classes: every key, its type, bounds, default and help.

The reference is generated from here.
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
_NAME_RULE = "a name has letters, digits, `-`, `_` and `.`, and starts with none of `-` and `.`"


@frozen(kw_only=True)
class ComponentRef:
    """`use:` names a component of the registry, its options stand beside it.

    A bare string is a component without options.
    """

    use: str
    options: dict[str, Any] = field(factory=dict)
    """The raw options; structured by the options class of the component when it is resolved."""


@frozen(kw_only=True)
class Budget:
    """A number of parameters such as `2M`, `35M`, `1.5B` or `250000`, kept as it was written beside its value."""

    text: str
    parameters: int


@frozen(kw_only=True)
class Search:
    """`search:` what is varied, how often, and by which strategy; further keys are the strategy's options."""

    component: ComponentRef
    trials: Annotated[int, Ge(1)] = option(
        50, help="How many trials the study has in all; a resumed study counts those it has."
    )
    budget: Budget | None = option(
        None,
        help="Parameters of the models: a number, or text such as `2M` or `1.5B`. Without it every shape will do.",
    )
    tolerance: Annotated[float, Gt(0), Lt(1)] = option(
        0.25, help="How far, as a share of the budget, a model may be from it; both ends included."
    )
    exclude: list[str] = option(
        factory=list,
        help="Shapes to leave out, as conditions over the dimensions: `d_model == 1024 and n_layers >= 256`.",
    )
    space: dict[str, Distribution] = option(
        factory=dict,
        help="Hyper-parameters to vary: `log_uniform: [low, high]`, `uniform: [low, high]`, `int: [low, high]` "
        "(with `step` or `log`), or `choice: [...]`. Names are those of the training core and the model.",
    )


@frozen(kw_only=True)
class Objective:
    """`objective:` the number by which trials are ranked."""

    metric: str = option("val_loss", help="A metric of the validation split.")
    direction: Literal["minimize", "maximize"] = option("minimize", help="Which way is better; that of the metric.")
    reduction: Literal["best", "last"] = option("best", help="The value of the best epoch, or that of the last one.")


@frozen(kw_only=True)
class EarlyStopping:
    """`early_stopping:` end a trial whose objective stopped improving."""

    patience: Annotated[int, Ge(1)] = option(10, help="Epochs without an improvement after which the trial ends.")
    min_delta: Annotated[float, Ge(0)] = option(
        0.001, help="An improvement of the objective by more than this counts; in the unit of the objective."
    )


@frozen(kw_only=True)
class Training:
    """`training:` how each trial is trained, and by which trainer; further keys are the trainer's options.

    Hyper-parameters that `search.space` varies override those given here.
    """

    component: ComponentRef = field(factory=lambda: ComponentRef(use=DEFAULT_TRAINER))
    early_stopping: EarlyStopping | None = option(factory=EarlyStopping, help="When to end early; `null` for never.")
    hyperparameters: dict[str, Any] = option(
        factory=dict,
        help="Fixed values of hyper-parameters of the training core or the model, for example `epochs: 20`.",
    )
    device: Literal["auto", "cpu", "cuda", "mps"] = option(
        "auto",
        help="Where to train; `auto` takes a GPU if there is one. All trials of a study train on the device that its "
        "first smoke step found. [G48]",
    )
    threads: Annotated[int, Ge(1)] | Literal["auto"] = option(
        "auto", help="CPU threads of a trial; `auto` divides the cores that this process may use among the slots."
    )
    checkpoint_every: Annotated[float, Gt(0)] = option(60.0, help="Seconds between two checkpoints of a running trial.")
    checkpoint_epochs: Annotated[int, Ge(1)] | None = option(
        None, help="Epochs after which a checkpoint is written too, however short they were; `null` for by time alone."
    )
    keep_weights: Annotated[int, Ge(0)] = option(
        3, help="Of how many of the best trials the weights of the best epoch are kept, in `weights/`; 0 for none."
    )


@frozen(kw_only=True)
class Retry:
    """`retry:` how often a trial is tried again after an attempt that did not end by itself."""

    crash: Annotated[int, Ge(0), Le(100)] = option(
        2, help="After a crash or a kill from outside; from its last checkpoint."
    )
    out_of_memory: Annotated[int, Ge(0), Le(20)] = option(
        3, help="After running out of memory; each time with half the micro-batch."
    )


@frozen(kw_only=True)
class Execution:
    """`execution:` where and how attempts run; further keys are the executor's options."""

    component: ComponentRef = field(factory=lambda: ComponentRef(use="local"))
    slots: Annotated[int, Ge(1)] | Literal["auto"] = option(
        1,
        help="Trials that run at the same time, as far as their memory fits; `auto` takes one for each GPU, or as many "
        "as the cores carry.",
    )
    time_limit: Annotated[float, Gt(0)] | None = option(
        None, help="Hours after which the study checkpoints and ends as timed out; `scalecore run` then continues it."
    )
    hang_after: Annotated[float, Gt(0)] = option(
        600.0, help="Seconds without a step after which an attempt counts as hung and its trial as timed out."
    )
    admission_wait: Annotated[float, Gt(0)] | None = option(
        21600.0,
        help="Seconds that a trial waits for memory that other programs hold, while no other trial of the study runs, "
        "before it ends as `out_of_memory`; `null` for no end. [G40]",
    )
    stop_grace: Annotated[float, Gt(0)] = option(
        60.0, help="Seconds that an attempt gets to write its checkpoint when stopped."
    )
    retry: Retry = option(factory=Retry, help="How often a trial is tried again.")


@frozen(kw_only=True)
class Guards:
    """`guards:` limits below which a study is refused, and the margin of verdicts."""

    min_validation_samples: Annotated[int, Ge(1)] = option(
        100, help="Fewest effective validation samples: windows divided by the overlap of their labels. [G02]"
    )
    min_validation_positives: Annotated[int, Ge(1)] = option(
        20, help="Fewest validation samples of the rarer class, divided likewise. [G02]"
    )
    margin: Annotated[float, Gt(0)] | None = option(
        None,
        help="Smallest difference of the objective that matters: verdicts across budgets are judged by it, so it is "
        "fixed before the study. [G14]",
    )


@frozen(kw_only=True)
class Experiment:
    """One experiment file, checked, with every default filled in."""

    name: Annotated[str, MinLen(1), MaxLen(LONGEST_NAME), Pattern(NAME, _NAME_RULE)] = option(
        help="Name of the study: letters, digits, `-`, `_` and `.`; part of file names."
    )
    seed: Annotated[int, Ge(0), Lt(2**63)] = option(0, help="Decides everything that is drawn.")
    output: Path | None = option(
        None, help="The study's folder; `studies/NAME` under the working directory by default."
    )
    plugins: list[Path] = option(
        factory=list,
        help="Python files with components of your own, used as if they were installed; `scalecore new` writes one. "
        "Their content is part of the study's code. [G26]",
    )
    dataset: ComponentRef = field(metadata={"help": "The data, the target and the splits."})
    model: ComponentRef = field(metadata={"help": "The model family."})
    search: Search = field(metadata={"help": "What is varied, how often, and by which strategy."})
    objective: Objective = option(factory=Objective, help="The number by which trials are ranked.")
    training: Training = option(factory=Training, help="How each trial is trained.")
    execution: Execution = option(factory=Execution, help="Where and how attempts run.")
    guards: Guards = option(factory=Guards, help="Limits below which a study is refused, and the margin of verdicts.")
    monitors: list[ComponentRef] = option(factory=list, help="Hardware monitors.")
    loggers: list[ComponentRef] = option(
        factory=lambda: [ComponentRef(use="console"), ComponentRef(use="files")],
        help="Where results go, several at once.",
    )
    analyses: list[ComponentRef] = option(
        factory=list,
        help="What is computed from the results once the study, or every study of a campaign, is complete.",
    )
    sweep: dict[str, list[Any]] = option(
        factory=dict,
        help="Dotted keys of this file with a list of values each, such as `search.budget: [2M, 20M]`: one study for "
        "each combination, run in order as one campaign.",
    )


def known_keys(section: type) -> tuple[str, ...]:
    """The keys of `search:`, `training:` or `execution:` that are not options of the component."""
    return tuple(name for name in fields_dict(section) if name != "component")
