"""Components that come with the core."""
