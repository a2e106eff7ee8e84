"""Calibration: fitting calibrators, and measuring how far probabilities can be believed."""
