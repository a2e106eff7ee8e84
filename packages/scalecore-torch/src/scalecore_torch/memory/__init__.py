"""Predicts the memory of trials: traced steps, replayed allocators, and corrections from measured peaks."""
