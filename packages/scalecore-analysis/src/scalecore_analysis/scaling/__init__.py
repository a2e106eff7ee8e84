"""Scaling laws: forms, estimator, comparison, verdict, power."""
