"""Fitting calibrators and measuring calibration."""
