"""Architecture search on Optuna 5 for scalecore: forced extremes, coverage, no duplicates."""
