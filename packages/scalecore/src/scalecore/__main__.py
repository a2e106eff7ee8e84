"""`python -m scalecore` is the `scalecore` command."""

from __future__ import annotations

from scalecore.cli.main import main

if __name__ == "__main__":
    main()
