"""From an experiment file to a plan: data, shapes, memory, slots, preflight, and what a continued study may change."""
