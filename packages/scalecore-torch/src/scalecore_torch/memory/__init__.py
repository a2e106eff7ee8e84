"""How much memory trials need: traced steps, replayed allocators, corrections by what was measured."""
