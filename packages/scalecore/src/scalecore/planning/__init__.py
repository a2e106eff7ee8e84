"""Build the plan of an experiment: data, shapes, memory, slots, preflight checks, and changes to a resumed study."""
