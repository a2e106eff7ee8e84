"""What a study keeps: journal, state by replay, layout, lock, identity, retention, verify."""
