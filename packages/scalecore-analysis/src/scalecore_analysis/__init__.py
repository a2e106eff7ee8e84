"""Analyses of scalecore studies. The entry point is `scalecore_analysis.plugin`."""
