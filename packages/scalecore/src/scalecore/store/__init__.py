"""The files of a study: journal, state by replay, layout, lock, identity, retention, verification."""
