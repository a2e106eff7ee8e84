"""Features by name. Each indicator declares its inputs, look-back and formula."""
