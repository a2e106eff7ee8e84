"""Confirmation: the best trials of a search retrained on fresh seeds (guard G14)."""
