"""Stored predictions of a study, and the calibrator that an analysis fits to them."""

from scalecore.data.calibrator import Calibrator, calibrator_file, calibrator_from, read_calibrator
from scalecore.data.predictions import Predictions, checksum, common_windows, read_predictions, write_predictions
from scalecore.store.predictions import trial_predictions

__all__ = [
    "Calibrator",
    "Predictions",
    "calibrator_file",
    "calibrator_from",
    "checksum",
    "common_windows",
    "read_calibrator",
    "read_predictions",
    "trial_predictions",
    "write_predictions",
]
