"""A plugin to learn from: the model family `tcn`, the search strategy `evolution`, the logger `markdown`."""
