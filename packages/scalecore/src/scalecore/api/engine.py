"""The study engine, for packages that run or read trials themselves: journal and state, lock, plan, identity.

Other plugins do not need it. Only the process that holds the study's lock may append to its journal.
"""

from scalecore.api.files import content_hash
from scalecore.campaign.run import CampaignIndex, find_campaign
from scalecore.config.instantiate import create, of_plugin
from scalecore.config.kept import structured
from scalecore.config.resolve import load_resolved
from scalecore.config.resolved import ResolvedComponent
from scalecore.config.source import dump
from scalecore.config.standalone import standalone_component
from scalecore.config.stored_paths import Move
from scalecore.planning.build_plan import build_plan
from scalecore.planning.continuation import grid_options
from scalecore.planning.counting import CountedFamily
from scalecore.planning.plan import Plan
from scalecore.planning.preview import state_of
from scalecore.planning.runtime import Runtime
from scalecore.planning.slots import executor_context
from scalecore.planning.time_estimates import forecast
from scalecore.plugins.registry import Registry, load_registry
from scalecore.store.disk import explained
from scalecore.store.event_lines import event_of
from scalecore.store.events import Event, ImportedTrial, MeasuredOnTestData, OpenedTestData, Repaired
from scalecore.store.identity import FREE, by_name, trial_content, trial_hash, trial_seed
from scalecore.store.journal import Journal
from scalecore.store.kept_model import MODEL_FILE, MODEL_FORMAT, WEIGHTS_FILE, checked_weights, model_content
from scalecore.store.kept_study import load_stored, move_of
from scalecore.store.layout import find_study, has_begun, output_folder
from scalecore.store.lock import StudyLock
from scalecore.store.state import StudyState, read_state
from scalecore.store.study_device import StudyDevice, kind_of, missing_device
from scalecore.study.measure import (
    EvaluationStopped,
    is_measured,
    measure,
    opened_text,
    refuse_without_weights,
    rules_on,
    test_predictions_file,
)
from scalecore.study.open_study import OpenStudy, open_study
from scalecore.study.run import (
    locked_folder,
    refuse_another_experiment,
    refuse_changed_code,
    refuse_changed_data,
    refuse_findings,
)
from scalecore.study.running_trial import run_alone
from scalecore.study.stop_requests import StopRequests
from scalecore.study.wanted import FolderWithOtherData, Wanted, train_wanted

__all__ = [
    "FREE",
    "MODEL_FILE",
    "MODEL_FORMAT",
    "WEIGHTS_FILE",
    "CampaignIndex",
    "CountedFamily",
    "EvaluationStopped",
    "Event",
    "FolderWithOtherData",
    "ImportedTrial",
    "Journal",
    "MeasuredOnTestData",
    "Move",
    "OpenStudy",
    "OpenedTestData",
    "Plan",
    "Registry",
    "Repaired",
    "ResolvedComponent",
    "Runtime",
    "StopRequests",
    "StudyDevice",
    "StudyLock",
    "StudyState",
    "Wanted",
    "build_plan",
    "by_name",
    "checked_weights",
    "content_hash",
    "create",
    "dump",
    "event_of",
    "executor_context",
    "explained",
    "find_campaign",
    "find_study",
    "forecast",
    "grid_options",
    "has_begun",
    "is_measured",
    "kind_of",
    "load_registry",
    "load_resolved",
    "load_stored",
    "locked_folder",
    "measure",
    "missing_device",
    "model_content",
    "move_of",
    "of_plugin",
    "open_study",
    "opened_text",
    "output_folder",
    "read_state",
    "refuse_another_experiment",
    "refuse_changed_code",
    "refuse_changed_data",
    "refuse_findings",
    "refuse_without_weights",
    "rules_on",
    "run_alone",
    "standalone_component",
    "state_of",
    "structured",
    "test_predictions_file",
    "train_wanted",
    "trial_content",
    "trial_hash",
    "trial_seed",
]
