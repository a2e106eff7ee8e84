"""The study: plan, journal, loop, records."""
