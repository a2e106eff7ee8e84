"""Import earlier results as trials that warm-start a strategy."""
