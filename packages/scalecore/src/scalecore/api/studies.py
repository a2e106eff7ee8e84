"""Files and hardware tables of a study, for analyses and loggers, and the stored form of a record."""

from scalecore.builtin.hardware_summary import NO_MONITOR, hardware_rows, hardware_table
from scalecore.store.layout import StudyFolder
from scalecore.store.record_json import record_plain

__all__ = ["NO_MONITOR", "StudyFolder", "hardware_rows", "hardware_table", "record_plain"]
