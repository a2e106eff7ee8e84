"""Mistakes of a plugin's author that mypy finds in `scalecore.api`; checked by `tox -e types`, never run.

Each line with a mistake ignores the error that it must cause. mypy reports an ignored error that does not occur, so the
check fails when the public interface no longer detects a mistake.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import frozen

from scalecore import hookimpl
from scalecore.api.analysis import Analysis, AnalysisResult
from scalecore.api.components import (
    AnalysisRecord,
    DatasetRecord,
    ExecutorRecord,
    HardwareMonitorRecord,
    LoggerRecord,
    ModelRecord,
    SearchStrategyRecord,
)
from scalecore.api.dataset import Dataset, DatasetContext
from scalecore.api.executor import Executor
from scalecore.api.logger import Logger, LoggerContext
from scalecore.api.model import HyperparameterReader, ModelFamily
from scalecore.api.monitor import HardwareMonitor
from scalecore.api.options import option
from scalecore.api.readings import Reading, Verdict
from scalecore.api.space import Architecture, ArchitectureSpace, DataShape, Hyperparameter
from scalecore.api.strategy import SearchContext, SearchStrategy
from scalecore.api.trials import Epoch, Origin, Outcome, Proposal, RestoredTrial, StudyView, TrialRecord, TrialState

if TYPE_CHECKING:
    import torch


@frozen(kw_only=True)
class MailOptions:
    to: str = option(help="The address.")


@frozen(kw_only=True)
class FanOptions:
    at: float = option(3000.0, help="Revolutions per minute.")


class Mail(Logger):
    def __init__(self, options: MailOptions) -> None:
        self.options = options

    # The number of the trial comes first.
    def trial_finished(self, record: TrialRecord) -> None: ...  # type: ignore[override]

    def epoch(self, number: str, epoch: Epoch) -> None: ...  # type: ignore[override]


def mail(options: MailOptions, context: LoggerContext) -> Logger:
    return Mail(options)


# --- the record of a component ---------------------------------------------------------------------------------------

LoggerRecord(name="mail", summary="Writes a mail.", options=MailOptions, factory=mail)
LoggerRecord(name="mail", summary="Writes a mail.", options=FanOptions, factory=mail)  # type: ignore[arg-type]
LoggerRecord(name="mail", summary="Writes a mail.", options=MailOptions)  # type: ignore[call-arg]
LoggerRecord(name="mail", summary="Writes a mail.", options=MailOptions, factory=Mail)  # type: ignore[arg-type]
LoggerRecord(name="mail", sumary="Writes a mail.", options=MailOptions, factory=mail)  # type: ignore[call-arg]
LoggerRecord(name="mail", summary="", options=MailOptions(to=""), factory=mail)  # type: ignore[arg-type]


@hookimpl
def scalecore_loggers() -> list[LoggerRecord]:
    record = LoggerRecord(name="mail", summary="Writes a mail.", options=MailOptions, factory=mail)
    record.name = "post"  # type: ignore[misc]
    return record  # type: ignore[return-value]


# --- objects that lack something -------------------------------------------------------------------------------------


class NoPanel:
    def table(self) -> object: ...


def dataset(options: FanOptions, context: DatasetContext) -> Dataset:
    return NoPanel()  # type: ignore[return-value]


DatasetRecord(name="sales", summary="Sales.", options=FanOptions, factory=lambda options: NoPanel())  # type: ignore[arg-type, misc]


class FamilyWithoutBuild:
    def hyperparameters(self) -> Sequence[Hyperparameter]:
        return ()

    def architecture_space(self, data: DataShape) -> ArchitectureSpace:
        raise NotImplementedError


class FamilyThatBuildsNoModule(FamilyWithoutBuild):
    def build(
        self, architecture: Mapping[str, int], hyperparameters: HyperparameterReader, data: DataShape
    ) -> None: ...


class FamilyOfItsOwnArguments(FamilyWithoutBuild):
    def build(self, depth: int, width: int) -> torch.nn.Module:
        raise NotImplementedError


def family(options: FanOptions) -> ModelFamily:
    if options.at > 1:
        return FamilyWithoutBuild()  # type: ignore[return-value]
    if options.at > 2:
        return FamilyThatBuildsNoModule()  # type: ignore[return-value]
    return FamilyOfItsOwnArguments()  # type: ignore[return-value]


ModelRecord(name="mlp", summary="An MLP.", options=MailOptions, factory=family)  # type: ignore[arg-type]


class Forgetful:
    def planned(self) -> Sequence[Proposal]:
        return ()

    def restore(self, trials: Sequence[RestoredTrial]) -> None: ...

    def ask(self, number: int) -> Proposal:  # None when nothing is left: a narrower type is right
        raise NotImplementedError

    def tell(self, number: int, value: float) -> None: ...

    def should_prune(self, number: int, *, epoch: int, value: float) -> bool:
        return False


def strategy(options: FanOptions, context: SearchContext) -> SearchStrategy:
    context.trials = 3  # type: ignore[misc]
    return Forgetful()  # type: ignore[return-value]


SearchStrategyRecord(name="grid", summary="All.", factory=Forgetful)  # type: ignore[arg-type]


class Fan:
    interval: str = "5"

    def sample(self, processes: Mapping[int, int]) -> Sequence[float]:
        return (3.0,)

    def verdict(self, readings: Sequence[Reading]) -> Verdict:
        return Verdict(action="halt")  # type: ignore[arg-type]


def fan(options: FanOptions, context: object) -> HardwareMonitor:
    return Fan()  # type: ignore[return-value]


HardwareMonitorRecord(name="fan", summary="The fan.", options=FanOptions, factory=fan, quantities="fan")  # type: ignore[arg-type]


class Cluster:
    def submit(self, folder: str) -> int:
        return 0


def cluster(options: FanOptions, context: object) -> Executor:
    return Cluster()  # type: ignore[return-value]


ExecutorRecord(name="cluster", summary="A cluster.", options=MailOptions, factory=cluster)  # type: ignore[arg-type]


class Losses:
    def run(self, studies: Sequence[StudyView]) -> Sequence[str]:
        return ()


def losses(options: FanOptions) -> Analysis:
    return Losses()  # type: ignore[return-value]


AnalysisRecord(name="losses", summary="Losses.", options=FanOptions, factory=losses, studies="2")  # type: ignore[arg-type]
AnalysisResult(title="Losses", tables=[{"loss": 1.0}], data={})  # type: ignore[arg-type]


# --- what is passed around -------------------------------------------------------------------------------------------


def propose(architecture: Architecture) -> Proposal:
    Proposal(architecture=architecture, hyperparameters={})  # type: ignore[call-arg]
    Proposal(architecture={"depth": 3}, hyperparameters={}, origin=Origin(kind="forced"))  # type: ignore[arg-type]
    return Proposal(architecture=architecture, hyperparameters={}, origin=Origin(kind="foced"))  # type: ignore[arg-type]


def read(study: StudyView, record: TrialRecord, outcome: Outcome) -> list[float]:
    record.seed = 0  # type: ignore[misc]
    study.trials.append(record)  # type: ignore[attr-defined]
    print(study.best.value)  # type: ignore[union-attr]
    study.folder.joinpath(3)  # type: ignore[arg-type]
    if outcome.state is TrialState.COMPLETE:  # type: ignore[attr-defined]
        return []
    path: str = study.folder  # type: ignore[assignment]
    return [Path(path).stat().st_size, record.value]  # type: ignore[list-item]
