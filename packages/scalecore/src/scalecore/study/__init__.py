"""The loop of a study: run, session, driver, dispatch, next trial, smoke step, loggers."""
