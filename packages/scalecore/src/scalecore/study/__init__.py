"""The study loop: run, session, driver, dispatch, next trial, smoke step, loggers."""
