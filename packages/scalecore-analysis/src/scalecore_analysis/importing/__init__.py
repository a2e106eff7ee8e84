"""Results from elsewhere, as trials that teach a strategy."""
