"""Features by name: each indicator declares what it is computed from, how far back it looks, and its formula."""
