"""Work after a search: evaluate a trial on test data, predict."""
