"""Hardware monitors during a run: sampling, pauses, readings."""
