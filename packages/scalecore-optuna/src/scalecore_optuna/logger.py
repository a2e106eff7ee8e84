"""Logger `optuna`: adds each finished trial to an Optuna storage, for optuna-dashboard and Optuna's own functions."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

from optuna.logging import WARNING, get_verbosity, set_verbosity
from optuna.study import create_study
from optuna.trial import FrozenTrial, TrialState

from scalecore.api.errors import RefusedError
from scalecore.api.logger import Logger, LoggerContext
from scalecore.api.trials import StudyView, TrialRecord
from scalecore_optuna.options import OptunaOptions
from scalecore_optuna.storages import open_storage, study_errors
from scalecore_optuna.stored_trials import HASH, NUMBER, stored_distributions, stored_trial

__all__ = ["OptunaLogger"]

STUDY = "scalecore study"
"""The user attribute of the stored study that contains the id of the scalecore study."""


class OptunaLogger(Logger):
    """Identifies a stored trial by its number and hash in its user attributes, so that each trial is added once."""

    def __init__(self, options: OptunaOptions, context: LoggerContext) -> None:
        self._options = options
        self._folder = context.folder
        self._open = ExitStack()

    def study_started(self, study: StudyView) -> None:
        """Add the missing trials. Raises `RefusedError` if the storage contains another study with this name."""
        # Optuna logs to the terminal at level INFO by default.
        set_verbosity(max(get_verbosity(), WARNING))
        name, objective = self._options.study_name or study.name, study.experiment["objective"]
        with study_errors(self._options.storage):
            storage = self._open.enter_context(open_storage(self._options.storage, self._folder))
            self._study = create_study(
                storage=storage, study_name=name, direction=objective["direction"], load_if_exists=True
            )
            stored = self._study.get_trials(deepcopy=False)
            self._refuse_another(study, stored)
            self._study.set_user_attr(STUDY, study.id)
            storage.set_study_system_attr(self._study._study_id, "study:metric_names", [objective["metric"]])
            for trial in stored:  # version 0.1 added trials while they were running
                if trial.state is TrialState.RUNNING:
                    self._study.tell(trial.number, state=TrialState.FAIL)
        self._numbers = {trial.user_attrs[NUMBER] for trial in stored if HASH in trial.user_attrs}
        self._distributions = {name: one for trial in stored for name, one in trial.distributions.items()}
        for record in study.trials:
            self.trial_finished(record, study)

    def trial_finished(self, record: TrialRecord, study: StudyView) -> None:
        if record.retrained or record.number in self._numbers:
            return
        distributions = stored_distributions(record, study, self._distributions)
        trial = stored_trial(record, distributions, metric=study.experiment["objective"]["metric"])
        with study_errors(self._options.storage):
            self._study.add_trial(trial)
        self._numbers.add(record.number)
        self._distributions |= distributions

    def close(self) -> None:
        self._open.close()

    def _refuse_another(self, study: StudyView, stored: Sequence[FrozenTrial]) -> None:
        name, direction = self._study.study_name, study.experiment["objective"]["direction"]
        if self._study.direction.name.lower() != direction:
            raise RefusedError(
                f"{self._options.storage} contains a study named {name!r} that does not {direction}; it was not "
                "changed. Use another `study_name` or `storage`"
            )
        hashes = {record.number: record.hash for record in study.trials}
        same = self._study.user_attrs.get(STUDY) == study.id
        for trial in stored:
            number, content = trial.user_attrs.get(NUMBER), trial.user_attrs.get(HASH)
            if number in hashes:  # version 0.1 stored the hash when the trial ended
                ours = content in (hashes[number], None)
            else:  # another process may have added a trial that this process does not know yet
                ours = number is not None and (same or content is None)
            if not ours:
                raise RefusedError(
                    f"{self._options.storage} contains another study named {name!r} (its trial {trial.number} is not "
                    "in this study); it was not changed. Use another `study_name` or `storage`"
                )
