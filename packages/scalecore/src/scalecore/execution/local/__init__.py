"""The executor that runs attempts as processes on this machine."""
