"""Retrain configurations of a study with the study's driver, in a separate folder with a separate journal.

The search's journal, totals and tables do not change: a retraining is a small study inside the study's folder and under
the study's lock. Its trials are given in advance, no strategy proposes them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from attrs import evolve, frozen

from scalecore.api.attempts import AttemptFolder
from scalecore.api.engine import (
    AskedFor,
    Driver,
    Journal,
    Plan,
    Runtime,
    Session,
    StudyState,
    begin,
    create,
    end_orphans,
    executor_context,
    kind_of,
    read_state,
    refuse_changed_code,
    trial_content,
    trial_hash,
    trial_seed,
)
from scalecore.api.errors import StudyError
from scalecore.api.space import Value
from scalecore.api.studies import StudyFolder
from scalecore.api.trials import Origin, Outcome, Proposal, RestoredTrial, StudyEnd, TrialRecord
from scalecore_promotion.open_study import OpenStudy
from scalecore_promotion.retrain_console import console_logger
from scalecore_torch.api import TorchSpec


@frozen
class RetrainFolder(StudyFolder):
    """Like a study's folder, with the prepared data in another folder."""

    prepared: Path

    @property
    def data(self) -> Path:
        return self.prepared


@frozen(kw_only=True, eq=False)
class Retraining:
    """One requested training: the configuration of `trial` with the changes given here."""

    trial: TrialRecord
    hyperparameters: Mapping[str, Value]
    replicate: int = 0
    """0 is the trial itself, with its own seed."""
    seed: int | None = None
    """None: derive the seed from the study and the content, as for a trial."""
    label: str

    def identity(self, study: OpenStudy, plan: Plan) -> tuple[int, str]:
        """Seed and hash, computed as for a trial of the search."""
        content = trial_content(
            # The grid may have changed since the study began; a trial's identity must not.
            {**plan.identity, "model": study.state.model or plan.model},
            unbound=plan.unbound,
            data=plan.data.fingerprint,
            architecture=self.trial.architecture.values,
            hyperparameters=self.hyperparameters,
            replicate=self.replicate,
        )
        seed = self.seed
        if seed is None:
            seed = trial_seed(content, study_seed=plan.resolved.experiment.seed, data=plan.data.seed_data)
        return seed, trial_hash(content, seed=seed)


@frozen(kw_only=True, eq=False)
class Retrained:
    """How the trainings ended; `records` contains the finished ones by hash."""

    folder: RetrainFolder
    end: StudyEnd
    records: Mapping[str, TrialRecord]

    def weights(self, record: TrialRecord) -> Path:
        """The best epoch's weights; raises `StudyError` if they are missing."""
        path = self.folder.weights(record.number)
        if not path.is_file():
            raise StudyError(f"{path}: the weights are missing; remove {self.folder.path} to train again")
        return path

    def spec(self, record: TrialRecord) -> TorchSpec:
        """The spec of the last attempt; raises `StudyError` if it is missing or unreadable."""
        try:
            return AttemptFolder(self.folder.attempt(record.number, len(record.attempts) - 1)).read_own_spec(TorchSpec)
        except FileNotFoundError:
            text = f"{self.folder.attempts}: the attempts are missing; remove {self.folder.path} to train again"
            raise StudyError(text) from None


def retrain(
    study: OpenStudy, wanted: Sequence[Retraining], *, folder: RetrainFolder, plan: Plan, runtime: Runtime, title: str
) -> Retrained:
    """Run the missing trainings and resume interrupted ones from their checkpoints.

    Each call retries a failed training once. Returns early when the user stops it, as a study does.
    """
    folder.path.mkdir(parents=True, exist_ok=True)
    state = read_state(folder.journal)
    refuse_changed_code(folder, state, plan, allow_changed_code=study.training.allow_changed_code)
    new = [one for one in wanted if one.identity(study, plan)[1] not in state.hashes]
    end = StudyEnd.COMPLETED
    if new or state.unfinished:
        end = _drive(study, new, folder=folder, plan=plan, runtime=runtime, state=state, title=title)
    for record in state.records:
        _settle_weights(folder, record)
    return Retrained(folder=folder, end=end, records={record.hash: record for record in state.records})


def _drive(
    study: OpenStudy,
    new: Sequence[Retraining],
    *,
    folder: RetrainFolder,
    plan: Plan,
    runtime: Runtime,
    state: StudyState,
    title: str,
) -> StudyEnd:
    state.smoke = study.state.smoke  # the study has tested these shapes, unless the code has changed
    state.settled = study.state.device  # the trainings are compared with the search's trials, so they use its device
    journal = Journal(folder.journal)
    try:
        end_orphans(folder, state)
        session = Session(
            evolve(plan, resolved=evolve(plan.resolved, loggers=(console_logger(title),))),
            runtime,
            folder=folder,
            lock=study.lock,
            journal=journal,
            state=state,
            verbosity=study.training.verbosity,
            strategy=_Given(),
            retrains=True,
        )
        begin(session, len(state.trials) + len(new))
        for one in new:
            _ask(session, one, *one.identity(study, plan))
        context = executor_context(plan.resolved, folder.path, device=kind_of(state.device))
        executor = create("executor", plan.resolved.executor, context)
        return Driver(session, executor=executor, requests=study.requests, registry=study.training.registry).run()
    finally:
        journal.close()


def _ask(session: Session, one: Retraining, seed: int, identity: str) -> None:
    """Add the trial to the journal."""
    proposal = Proposal(
        architecture=one.trial.architecture,
        hyperparameters={
            name: value
            for name, value in one.hyperparameters.items()
            if name in session.plan.resolved.experiment.search.space
        },
        origin=Origin(kind="replicate", label=one.label),
    )
    session.record(
        AskedFor(
            number=len(session.state.trials),
            hash=identity,
            seed=seed,
            hyperparameters=one.hyperparameters,
            proposal=proposal,
            trial=one.trial.number,
            replicate=one.replicate,
        )
    )


def _settle_weights(folder: RetrainFolder, record: TrialRecord) -> None:
    """Move the best epoch's weights out of a finished training's attempts and delete the other weights (guard G44)."""
    trial = folder.attempt(record.number, 0).parent
    index = len(record.attempts) - 1
    result = AttemptFolder(folder.attempt(record.number, index)).read_result(f"{record.number}-{index}")
    kept = folder.weights(record.number)
    if result is not None and result.best_weights is not None and (trial / result.best_weights).is_file():
        kept.parent.mkdir(exist_ok=True)
        os.replace(trial / result.best_weights, kept)
    for path in trial.glob("attempt_*/best_*.safetensors"):
        path.unlink()


class _Given:
    """A strategy that proposes nothing: all trials are in the journal before the driver starts."""

    def planned(self) -> Sequence[Proposal]:
        return ()

    def restore(self, trials: Sequence[RestoredTrial]) -> None: ...

    def ask(self, number: int) -> Proposal | None:
        return None

    def tell(self, number: int, outcome: Outcome) -> None: ...

    def should_prune(self, number: int, *, epoch: int, value: float) -> bool:
        return False
