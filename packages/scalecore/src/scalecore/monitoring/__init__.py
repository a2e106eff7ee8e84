"""Hardware monitors while a study runs: sampling, pauses, readings."""
