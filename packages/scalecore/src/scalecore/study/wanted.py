"""Train configurations that are wanted after the search: replicates, transfers from other budgets, final models.

They are trials of the same journal with their own origins and numbers, and the driver treats them like any other trial.
The search's totals, tables and strategy do not see them. Equal wishes are one training, in one study or in several.
"""

from __future__ import annotations

import shutil
from collections.abc import Container, Mapping, Sequence
from pathlib import Path

from attrs import evolve, frozen

from scalecore.api.errors import DataError
from scalecore.api.files import replacing
from scalecore.api.logger import LoggerContext
from scalecore.api.space import Architecture, Value
from scalecore.api.trials import Origin, Proposal, Retraining, StudyEnd, TrialRecord, TrialState
from scalecore.config.instantiate import create
from scalecore.planning.plan import Plan
from scalecore.planning.runtime import Runtime
from scalecore.planning.slots import executor_context
from scalecore.store.asked_trial import AskedTrial
from scalecore.store.confirmations import confirmations
from scalecore.store.events import AskedFor, TrialFinished
from scalecore.store.identity import trial_content, trial_hash, trial_seed
from scalecore.store.layout import StudyFolder
from scalecore.store.predictions import trial_predictions
from scalecore.store.retention import keep_best_weights
from scalecore.store.state import StudyState
from scalecore.store.study_device import device_of_record, kind_of
from scalecore.study.driver import Driver
from scalecore.study.loggers import StudyLoggers
from scalecore.study.open_study import OpenStudy
from scalecore.study.run import begin, end_orphans
from scalecore.study.session import Session


@frozen(kw_only=True)
class Wanted:
    """One training that is wanted: `trial`, with the changes given here."""

    origin: Origin
    """Its kind is `replicate`, `transfer` or `final`."""
    architecture: Architecture
    hyperparameters: Mapping[str, Value]
    """All of them, varied and fixed."""
    trial: int | None = None
    """The trial of this study that it repeats."""
    replicate: int = 0
    """Counts the fresh seeds from 1; 0 is the configuration with the seed of a search."""
    seed: int | None = None
    """None: derive the seed from the study and the content, as for any trial."""

    def identity(self, study: OpenStudy, plan: Plan) -> tuple[int, str]:
        """Seed and hash, computed as for a trial of the search."""
        content = trial_content(
            # The grid may have changed since the study began; a trial's identity must not.
            {**plan.identity, "model": study.state.model or plan.model},
            unbound=plan.unbound,
            data=plan.data.fingerprint,
            architecture=self.architecture.values,
            hyperparameters=self.hyperparameters,
            replicate=self.replicate,
        )
        seed = self.seed
        if seed is None:
            seed = trial_seed(content, study_seed=plan.resolved.experiment.seed, data=plan.data.seed_data)
        return seed, trial_hash(content, seed=seed)


@frozen
class FolderWithOtherData(StudyFolder):
    """A study's folder whose prepared data are in another folder: those of a final training on another split."""

    prepared: Path

    @property
    def data(self) -> Path:
        return self.prepared


@frozen(kw_only=True)
class Trained:
    """How the trainings ended; `records` contains the finished ones by hash."""

    end: StudyEnd
    records: Mapping[str, TrialRecord]


def train_wanted(
    study: OpenStudy,
    wanted: Sequence[Wanted],
    *,
    title: str,
    plan: Plan | None = None,
    runtime: Runtime | None = None,
    folder: StudyFolder | None = None,
    keep_weights: bool = False,
    weights_for: Container[str] = (),
    elsewhere: Sequence[Path] = (),
) -> Trained:
    """Train what is missing of `wanted`, in this order, and resume what was interrupted from its checkpoint.

    A training that failed once is tried again, once per call. `elsewhere` are folders of other studies: an equal
    training that one of them contains is copied and not run again. `plan`, `runtime` and `folder` replace those of the
    study. With `keep_weights`, the best epoch's weights of each new training stay at `folder.weights(number)`. The
    trainings whose hashes are in `weights_for` have them afterwards: those without are trained again. Returns early
    when the user stops it, as a study does.
    """
    plan, runtime, folder = plan or study.plan, runtime or study.runtime, folder or study.folder
    state = study.state
    by_hash: dict[str, Wanted] = {}
    for one in wanted:
        by_hash.setdefault(one.identity(study, plan)[1], one)
    missing = {identity: one for identity, one in by_hash.items() if identity not in state.retrained_hashes}
    copied = {identity: one for identity, one in missing.items() if identity not in weights_for}
    _copy_equal(study, copied, plan=plan, folders=[study.folder.path, *elsewhere])
    missing = {
        identity: one
        for identity, one in by_hash.items()
        if identity not in state.retrained_hashes
        or (identity in weights_for and _lacks_weights(state, folder, state.retrained_hashes[identity]))
    }
    left = [trial for trial in state.open if trial.retrained and trial.hash in by_hash]
    end = StudyEnd.COMPLETED
    if missing or left:
        end_orphans(folder, state)
        context = LoggerContext(folder=folder.path, verbosity=study.training.verbosity)
        session = Session(
            plan,
            runtime,
            folder=folder,
            lock=study.lock,
            journal=study.journal,
            state=state,
            loggers=StudyLoggers(plan.resolved.loggers, context),
            retraining=Retraining(title=title, total=len(by_hash)),
            keep_weights=keep_weights,
        )
        begin(session, len(missing) + len(left))
        source = WantedTrials(session, study, by_hash=by_hash, missing=missing)
        place = executor_context(plan.resolved, folder.path, device=kind_of(state.device))
        executor = create("executor", plan.resolved.executor, place)
        registry, requests = study.training.registry, study.requests
        end = Driver(session, executor=executor, requests=requests, registry=registry, source=source).run()
    latest = {record.hash: record for record in state.retrained}
    return Trained(end=end, records={identity: latest[identity] for identity in by_hash if identity in latest})


class WantedTrials:
    """The source of the trials of a run that trains what is wanted; satisfies `TrialSource`."""

    def __init__(
        self, session: Session, study: OpenStudy, *, by_hash: Mapping[str, Wanted], missing: Mapping[str, Wanted]
    ) -> None:
        self._session = session
        self._study = study
        self._by_hash = by_hash
        self._missing = dict(missing)
        self._note_done()

    @property
    def total(self) -> int:
        return len(self._by_hash)

    @property
    def finished(self) -> Sequence[TrialRecord]:
        state = self._session.state
        unfinished = {trial.hash for trial in state.open if trial.retrained} | self._missing.keys()
        latest = {record.hash: record for record in state.retrained if record.hash in self._by_hash}
        return [record for identity, record in latest.items() if identity not in unfinished]

    @property
    def all_asked(self) -> bool:
        return not self._missing

    def begin(self) -> list[AskedTrial]:
        return [trial for trial in self._session.state.open if trial.retrained and trial.hash in self._by_hash]

    def next(self) -> AskedTrial | None:
        identity = next(iter(self._missing))
        one = self._missing.pop(identity)
        asked = _asked(self._study, one, self._session.plan)
        self._session.record(asked)
        return self._session.state.trials[asked.number]

    def should_prune(self, number: int, *, epoch: int, value: float) -> bool:
        return False

    def tell(self, record: TrialRecord) -> None:
        self._note_done()

    def settle_weights(self, record: TrialRecord) -> None:
        keep_best_weights(self._session.folder, record, keep=self._session.keep_weights)

    def problem(self) -> str | None:
        return None  # the command judges the trainings that it wanted

    def _note_done(self) -> None:
        assert self._session.retraining is not None
        self._session.retraining = evolve(self._session.retraining, done=len(self.finished))


def _lacks_weights(state: StudyState, folder: StudyFolder, number: int) -> bool:
    """Whether a completed training has no weights."""
    record = state.trials[number].record
    return record is not None and record.state is TrialState.COMPLETED and not folder.weights(number).is_file()


def _asked(study: OpenStudy, one: Wanted, plan: Plan, *, reason: str | None = None) -> AskedFor:
    seed, identity = one.identity(study, plan)
    space = plan.resolved.experiment.search.space
    return AskedFor(
        number=study.state.next_number(retrained=True),
        hash=identity,
        seed=seed,
        hyperparameters=one.hyperparameters,
        proposal=Proposal(
            architecture=one.architecture,
            hyperparameters={name: value for name, value in one.hyperparameters.items() if name in space},
            origin=one.origin if reason is None else evolve(one.origin, reason=reason),
        ),
        trial=one.trial,
        replicate=one.replicate,
    )


def _copy_equal(study: OpenStudy, missing: Mapping[str, Wanted], *, plan: Plan, folders: Sequence[Path]) -> None:
    """Add equal trainings of other studies, and those that version 0.1 kept apart, to the journal with their results.

    Only completed ones on the same device with the same code. Their weights are not copied.
    """
    device, versions = study.state.device, dict(plan.versions)
    for path in dict.fromkeys(folders):
        for record in confirmations(StudyFolder(path)):
            same_code = all(record.versions.get(name) == version for name, version in versions.items())
            if (
                record.hash not in missing
                or record.hash in study.state.retrained_hashes
                or record.state is not TrialState.COMPLETED
                or (device is not None and device_of_record(record) != device)
                or not (same_code or study.training.allow_changed_code)
                or not _has_predictions(path, record)
            ):
                continue
            _copy(study, missing[record.hash], record, plan=plan, source=path)


def _has_predictions(folder: Path, record: TrialRecord) -> bool:
    """Whether the file that the record names exists and belongs to it; True if it names none."""
    try:
        trial_predictions(folder, record)
    except DataError:
        return False
    return True


def _copy(study: OpenStudy, one: Wanted, record: TrialRecord, *, plan: Plan, source: Path) -> None:
    where = "of version 0.1" if source == study.folder.path else f"of {source.name}"
    asked = _asked(study, one, plan, reason=f"equal to trial {record.number} {where}: trained once")
    kept = record.predictions
    if kept is not None:
        target = study.folder.predictions(asked.number)
        target.parent.mkdir(exist_ok=True)
        with replacing(target) as temporary:
            shutil.copyfile(source / kept.file, temporary)
        kept = evolve(kept, file=str(target.relative_to(study.folder.path)))
    study.record(asked)
    copy = evolve(record, number=asked.number, origin=asked.proposal.origin, predictions=kept)
    study.record(TrialFinished(number=asked.number, record=copy))
