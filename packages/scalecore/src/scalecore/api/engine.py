"""The study engine, for packages that run or read trials themselves: journal and state, lock, plan, identity.

Other plugins need none of it: what a component gets, its hook gives. Only the holder of the lock appends to a journal.
"""

from scalecore.config.instantiate import of_plugin
from scalecore.config.resolve import load_resolved
from scalecore.config.source import dump
from scalecore.planning.build_plan import build_plan
from scalecore.planning.continuation import grid_options
from scalecore.planning.plan import Plan
from scalecore.planning.preview import state_of
from scalecore.plugins.registry import Registry, load_registry
from scalecore.store.disk import explained
from scalecore.store.event_lines import event_of
from scalecore.store.events import ImportedTrial
from scalecore.store.identity import content_hash, trial_content, trial_hash
from scalecore.store.journal import Journal
from scalecore.store.kept_study import load_stored
from scalecore.store.layout import StudyFolder, has_begun, output_folder
from scalecore.store.state import StudyState, read_state
from scalecore.study.run import locked_folder, refuse_another_experiment, refuse_changed_data

__all__ = [
    "ImportedTrial",
    "Journal",
    "Plan",
    "Registry",
    "StudyFolder",
    "StudyState",
    "build_plan",
    "content_hash",
    "dump",
    "event_of",
    "explained",
    "grid_options",
    "has_begun",
    "load_registry",
    "load_resolved",
    "load_stored",
    "locked_folder",
    "of_plugin",
    "output_folder",
    "read_state",
    "refuse_another_experiment",
    "refuse_changed_data",
    "state_of",
    "trial_content",
    "trial_hash",
]
