"""Paired comparison of studies: which are compared, on which windows, with which verdict."""
