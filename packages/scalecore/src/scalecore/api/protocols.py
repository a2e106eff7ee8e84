"""What the objects of each plugin kind do at run time.

Every docstring says who calls, in which process, in which order, what may be changed and what an exception does.
The *driver* is the process of `scalecore run`: it owns the study and never imports torch. An *attempt* is the process
that trains one trial. Implementations need not inherit: they satisfy the protocol by having its methods.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from attrs import field, frozen

if TYPE_CHECKING:
    import torch

    from scalecore.api.explanation import Explanation
    from scalecore.api.panel import Panel
    from scalecore.api.readings import Admission, Demand, Finding, Reading, Verdict
    from scalecore.api.space import (  # noqa: TC004 (nothing reads the types of fields)
        Architecture,
        ArchitectureSpace,
        DataShape,
        Distribution,
        Hyperparameter,
    )
    from scalecore.api.trials import (
        Epoch,
        Outcome,
        Progress,
        Proposal,
        RestoredTrial,
        StudyEnd,
        StudyView,
        TrialRecord,
    )

__all__ = [
    "Analysis",
    "AnalysisResult",
    "AttemptStatus",
    "ClosedForms",
    "Dataset",
    "DatasetContext",
    "Executor",
    "ExecutorContext",
    "Explains",
    "ForksTracer",
    "HardwareMonitor",
    "HyperparameterReader",
    "Logger",
    "LoggerContext",
    "ModelFamily",
    "MonitorContext",
    "RemovesLevel",
    "Savings",
    "SearchContext",
    "SearchStrategy",
    "SizedFamily",
    "SupportsPhase",
    "TakesStacks",
    "TrainingContext",
    "Trains",
]


# --- data -----------------------------------------------------------------------------------------------------------


@frozen(kw_only=True)
class DatasetContext:
    """What a dataset's factory is given besides its options. Paths in options are absolute already."""

    seed: int


@runtime_checkable
class Dataset(Protocol):
    """Raw material of a study: one table of rows in time, and the definition of what is to be predicted.

    Called by the driver, once per plan or run, before anything else. The core cuts the table into splits, checks and
    normalises it, and stores it as memory-mapped arrays for the attempts; a dataset does none of that.
    """

    def panel(self) -> Panel:
        """The whole table. A `DataError` is shown to the user as it is.

        Any other exception ends the run as the dataset's fault.
        """
        ...


# --- models ---------------------------------------------------------------------------------------------------------


class HyperparameterReader(Protocol):
    """Hyper-parameters by name. Every read is recorded: a sampled one that nobody read is an error (guard G03)."""

    def __getitem__(self, name: str) -> Any: ...


@runtime_checkable
class ModelFamily(Protocol):
    """A family of architectures that share one way of building.

    Everything but `build` is called in the driver, often and for thousands of shapes, and must not import torch.
    An exception in the driver ends the run; one in `build` or in the module fails the trial with a typed reason.

    How large a shape is, is counted by building it on torch's meta device, in a process beside the driver. A family may
    say it itself, which is faster: it then has some or all methods of `ClosedForms`.
    """

    def hyperparameters(self) -> Sequence[Hyperparameter]:
        """The hyper-parameters that `build` reads, beside those of the training core."""
        ...

    def architecture_space(self, data: DataShape) -> ArchitectureSpace:
        """All legal shapes for this data, before any budget.

        Optional: `ArchitectureSpace(..., derived=...)` declares other names by which results from elsewhere give a
        dimension, such as the ratio of two.
        """
        ...

    def build(
        self, architecture: Mapping[str, int], hyperparameters: HyperparameterReader, data: DataShape
    ) -> torch.nn.Module:
        """The module, in the attempt's process: from x[batch, context, features] to logits[batch, outputs] (guard G10).

        Called once per attempt after the random seed was set, on the CPU; the core moves it to the device. It is also
        called on tensors that have shapes and no values: on the meta device to count the shape, with all
        hyper-parameters at their defaults, and under `torch._subclasses.FakeTensorMode` to find out how much memory
        training needs. Where that fails, a real module is counted, and `saved_activations` says the memory. The number
        of parameters must not depend on hyper-parameters.

        The module may have five things more, all optional. A method `repeated_blocks()` returns its submodules of
        equal shape in the order of the forward pass: the core may compile them as one, and recompute them in the
        backward pass where memory is short. A method `compile_blocks(compiler, batch=...)` is called instead where
        other code than the blocks as they are written should be compiled (see `scalecore.training.compilation`). A
        method `use_products(library)` lets it compute its float32 products on a CPU by `"torch"` or by `"onednn"` from
        then on, and returns the one of both that it uses (see `scalecore.training.product_library`). A method
        `compile_savings()` returns `Savings`, by which `training.compile: auto` decides; without it the FLOPs of the
        trial do. An attribute `micro_batch_invariance` says what it means to split a batch: `"exact"`, `"stochastic"`
        (random numbers are drawn otherwise) or `"not_invariant"` (statistics over the batch); without it the core finds
        out.
        """
        ...


@frozen(kw_only=True)
class Savings:
    """What compiled blocks save in one pass of training over one window: counts for all blocks, on the module's device.

    The core knows what each costs (`scalecore.training.compile_choice`).
    """

    numbers: int
    """Numbers that operations on single numbers write in a forward pass: norms, activations, residual sums, copies."""
    masks: int = 0
    """Numbers that dropout writes."""
    heads: int = 0
    """Attention heads that eager code computes by a library's calls, and compiled code in its loops."""


@runtime_checkable
class ClosedForms(Protocol):
    """What a model family may have besides, each method by itself: how large a shape is, without building it.

    Called in the driver, for each shape of the grid.
    """

    def num_parameters(self, architecture: Mapping[str, int], data: DataShape) -> int:
        """The exact number of trainable parameters. Must equal that of the built module (guard G04)."""
        ...

    def flops(self, architecture: Mapping[str, int], data: DataShape) -> int:
        """Floating-point operations of one forward pass of one window; a multiply-add counts as two."""
        ...

    def saved_activations(self, architecture: Mapping[str, int], data: DataShape) -> int:
        """Numbers that one window keeps between forward and backward, roughly; feeds the prediction of memory."""
        ...


class SizedFamily(ModelFamily, ClosedForms, Protocol):
    """A model family of which the size of every shape is known, by its closed forms or by counting."""


@runtime_checkable
class RemovesLevel(Protocol):
    """What a `ModelFamily` may offer beside its methods: one that can normalise each window by itself has to.

    Called in the driver, by `scalecore check` and while a study is planned. A forecast is refused then, since the same
    window at another level would get the same forecast (guard G57). A family that does not offer it and removes the
    level all the same is found by the smoke step, before the first trial.
    """

    def level_removed_by(self) -> str | None:
        """The option of the family that removes the level of a window without adding it to the outputs again.

        None where the level reaches the outputs, as with that option off:

            def level_removed_by(self) -> str | None:
                return "revin" if self._options.revin else None
        """
        ...


# --- search ---------------------------------------------------------------------------------------------------------


@frozen(kw_only=True)
class SearchContext:
    """What a strategy's factory is given besides its options.

    `architectures` are the feasible ones in a fixed order, `dimensions` the values of each dimension that occur among
    them, `space` the declared distributions of the study, `roles` what the family says of its dimensions (`depth` and
    the `roles` of `ArchitectureSpace`).
    """

    architectures: Sequence[Architecture]
    dimensions: Mapping[str, tuple[int, ...]]
    space: Mapping[str, Distribution]
    direction: Literal["minimize", "maximize"]
    trials: int
    seed: int
    roles: Mapping[str, str] = field(factory=dict)


@runtime_checkable
class SearchStrategy(Protocol):
    """Chooses what is tried next. Called in the driver only, by one thread.

    Order: `restore` once; then any number of `ask` and `tell` in any interleaving (several trials may be running), with
    `should_prune` after each epoch of a running trial. Every `ask` that returned a proposal is followed by one `tell`,
    in this run or, through `restore`, in a later one. An exception ends the run; everything finished is kept.
    """

    def planned(self) -> Sequence[Proposal]:
        """The trials that are known beforehand, in their order: what the plan lists as forced. May be empty."""
        ...

    def restore(self, trials: Sequence[RestoredTrial]) -> None:
        """All trials of the journal in the order of their numbers; unfinished ones will be told later.

        A study may go on with other architectures, another space or another total: trials of earlier that fit today's
        context count as if they had been asked for by this strategy. What does not fit must not raise; a strategy that
        explains itself names it in `left_out`. Either way the number is taken, and a `tell` may follow.

        Results from elsewhere come first, under negative numbers and with the origin `imported`; they may lack
        parameters, and none of them is a trial of the study.
        """
        ...

    def ask(self, number: int) -> Proposal | None:
        """What trial `number` shall be; None when nothing is left to try. Depends on the seed, the number and the
        history only.

        Asked again for the same number after a duplicate was told, and after None once a running trial has ended.
        """
        ...

    def tell(self, number: int, outcome: Outcome) -> None:
        """How the trial ended. With `duplicate_of` set, the proposal was not run, and `ask(number)` follows again."""
        ...

    def should_prune(self, number: int, *, epoch: int, value: float) -> bool:
        """Whether a running trial shall end now; `value` is the objective after `epoch`, which counts from 1."""
        ...


@runtime_checkable
class Explains(Protocol):
    """What a search strategy may have besides, so that `scalecore plan` and `scalecore status` explain the search."""

    def explain(self) -> Explanation:
        """The search as it stands: before the first trial, after `restore`, or at any time of a run.

        Called in the driver, or by a command that only reads, with a fresh strategy after `restore`. Changes nothing
        that a later `ask` depends on.
        """
        ...


@runtime_checkable
class SupportsPhase(Protocol):
    """What a search strategy may have besides, so that `status` names its phase while the study runs."""

    def phase(self) -> str:
        """The phase of the next trial, as `Explanation.phase`.

        Called in the driver after `restore`, each `ask` and each `tell`, so it must be cheap. Changes nothing.
        """
        ...


# --- loggers --------------------------------------------------------------------------------------------------------


@frozen(kw_only=True)
class LoggerContext:
    """What a logger's factory is given besides its options: the study's folder and how much the user wants to see.

    `verbosity` is -1 for quiet, 0 for normal, 1 for verbose.
    """

    folder: Path
    verbosity: int = 0


class Logger:
    """Told what happens; a base class whose methods do nothing, to override where needed.

    Called in the driver, in this order: `study_started`; for each trial `trial_started`, `progress` about once a
    second, `epoch` after each epoch, `trial_finished`; `study_finished`; `close`, whatever happened before. A trial
    that was interrupted is started again with the same number in the next run. The journal holds everything before a
    logger is told, so a logger may rebuild what it writes from `study.trials` when the study starts. An exception is
    reported once and switches the logger off; the study continues and is marked degraded. A logger that prints messages
    where the run was started says so by an attribute, `prints = True`: where none is left, failures go to stderr.
    """

    def study_started(self, study: StudyView) -> None: ...

    def trial_started(self, number: int, proposal: Proposal, study: StudyView) -> None: ...

    def progress(self, progress: Progress) -> None: ...

    def epoch(self, number: int, epoch: Epoch) -> None: ...

    def trial_finished(self, record: TrialRecord, study: StudyView) -> None: ...

    def message(self, level: str, text: str) -> None:
        """Something the user should know: `level` is info, warning or error."""

    def take_remarks(self) -> Sequence[tuple[str, str]]:
        """What the logger itself wants the user to know since the last call, as pairs of level and text.

        Asked for about twenty times a second, and once after `study_finished`; all loggers get it as a `message`.
        """
        return ()

    def study_finished(self, study: StudyView) -> None: ...

    def close(self) -> None: ...


# --- hardware -------------------------------------------------------------------------------------------------------


@frozen(kw_only=True)
class MonitorContext:
    """What a monitor's factory is given besides its options."""

    folder: Path


@runtime_checkable
class HardwareMonitor(Protocol):
    """Reads sensors and decides. Called in the driver, by one thread at a time.

    Order: `preflight` once per plan or run; then `admit` before each trial, and `sample` about every `interval`
    seconds while a trial runs, less often while none does. A thread of its own calls `sample`, so that a slow sensor
    holds nothing; all decisions fall in the driver's loop, which asks for the `verdict` on each sample, in their order,
    some hundredths of a second later. `verdict` is a pure function of the readings and of what the monitor remembers of
    earlier ones. An exception counts as "unavailable": the monitor's policy for that applies where it has one, and the
    user is told once. So does a `sample` that takes ten seconds; that monitor is not asked again in this run.
    """

    @property
    def interval(self) -> float:
        """Seconds between two samples."""
        ...

    def preflight(self, demand: Demand | None) -> Sequence[Finding]:
        """What speaks for or against starting; `demand` is that of the largest trial of the study where it is known."""
        ...

    def admit(self, demand: Demand) -> Admission:
        """Whether a trial of this demand may start now, and on which GPU, where it judges them one by one.

        The caller starts it at once, or asks again: what was promised counts while `demand.running` names the trial.
        """
        ...

    def sample(self, processes: Mapping[int, int]) -> Sequence[Reading]:
        """Readings now. `processes` maps the numbers of running trials to the process ids of their attempts."""
        ...

    def verdict(self, readings: Sequence[Reading]) -> Verdict:
        """What to do about the readings that `sample` just returned."""
        ...


# --- execution ------------------------------------------------------------------------------------------------------


@frozen(kw_only=True)
class AttemptStatus:
    """What an executor knows of an attempt. `exit_code` is negative for a signal.

    `peak_memory` in bytes where it is known.
    """

    state: Literal["running", "ended", "lost"]
    pid: int | None = None
    exit_code: int | None = None
    peak_memory: int | None = None
    oom_kill: str | None = None
    """The evidence where the kernel killed the attempt for lack of memory, else None."""
    suspended: bool = False
    """Whether a running attempt cannot run now: stopped by a signal, or frozen by its control group (guard G47)."""


@frozen(kw_only=True)
class ExecutorContext:
    """What an executor's factory is given besides its options."""

    folder: Path
    slots: int


@runtime_checkable
class Executor(Protocol):
    """Runs attempts somewhere. Called in the driver by one thread; retries belong to the driver.

    The attempt's folder is the protocol: it holds `spec.json` before `submit`, and the attempt writes its progress,
    checkpoints and `result.json` into it, so that the same attempt runs under any executor.
    """

    def submit(self, folder: Path) -> Any:
        """Start the attempt of this folder and return a handle for it."""
        ...

    def poll(self, handles: Sequence[Any]) -> Sequence[AttemptStatus]:
        """One status per handle: running, ended (with exit code and peak memory), or lost.

        `suspended` of a running one says that it cannot run now, as far as that is known: such time is no hang.
        """
        ...

    def stop(self, handle: Any, *, kill: bool) -> None:
        """End the attempt: its whole process group; `kill` at once, otherwise with a chance to write a checkpoint."""
        ...

    def close(self) -> None:
        """End everything that is left and give resources back."""
        ...


@runtime_checkable
class TakesStacks(Protocol):
    """What an executor may have besides, so that a record shows where a trial hung."""

    def take_stacks(self, handle: Any) -> None:
        """Make the attempt write the stacks of its threads into its log, if it can. `stop` with `kill` follows."""
        ...


@runtime_checkable
class ForksTracer(Protocol):
    """What an executor may have besides, where it has a process that has imported torch: one import less for a study.

    Called at most once, before the first `submit`, while the driver still reads its data.
    """

    def fork_tracer(self, questions: int, answers: int) -> bool:
        """Let a fork of that process run `scalecore.execution.tracer.serve` on these file descriptors, which the caller
        closes; False where there is none.
        """
        ...


# --- analyses -------------------------------------------------------------------------------------------------------


@frozen(kw_only=True)
class AnalysisResult:
    """What an analysis found: sentences, tables (rows of plain values) and a JSON form.

    Every number is computed from trial records, which the result names (guard G13); what is missing is None.
    `summary` is read first and `notes` last, by whoever reads the page; `data` is for programs. `files` holds further
    files by name, as text or bytes, for instance a page with figures; they are written beside the result.
    """

    title: str
    tables: Mapping[str, Sequence[Mapping[str, Any]]]
    data: Mapping[str, Any]
    summary: Sequence[str] = ()
    notes: Sequence[str] = ()
    files: Mapping[str, str | bytes] = field(factory=dict)


@frozen(kw_only=True)
class TrainingContext:
    """What an analysis that trains is given: how attempts build their registry, and how much the user wants to see."""

    registry: Mapping[str, Any]
    verbosity: int = 0
    allow_changed_code: bool = False


@runtime_checkable
class Trains(Protocol):
    """What an analysis may have besides, when its result needs trainings that the studies do not hold yet."""

    def planned(self, studies: Sequence[StudyView]) -> AnalysisResult:
        """What `train` would do and cost: printed by `--dry-run`, which writes nothing."""
        ...

    def train(self, studies: Sequence[StudyView], context: TrainingContext) -> StudyEnd:
        """Train what is missing, in folders of its own inside the studies' folders, under their locks. Called before
        `run`, which reads what it left; only after an end of `completed` is `run` called.
        """
        ...


@runtime_checkable
class Analysis(Protocol):
    """From studies to a result. Called by `scalecore analyze` in its own process, once, never during a run.

    Nothing of a study may be changed, and nothing is written by the analysis: the core prints and stores what it
    returns.
    """

    def run(self, studies: Sequence[StudyView]) -> AnalysisResult:
        """Compute the result. `studies` are in the order of the command line, each one once; they may be running,
        interrupted, or without a completed trial.

        Raise `DataError` where there is nothing to compute, and `RefusedError` where the studies must not be compared,
        saying why. Any other exception is told as the plugin's fault.
        """
        ...
