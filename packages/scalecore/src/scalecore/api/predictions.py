"""Predictions that a study kept, and the calibrator that an analysis fits to them."""

from scalecore.data.calibrator import Calibrator, calibrator_file
from scalecore.data.predictions import Predictions, checksum, read_predictions
from scalecore.store.predictions import trial_predictions

__all__ = ["Calibrator", "Predictions", "calibrator_file", "checksum", "read_predictions", "trial_predictions"]
