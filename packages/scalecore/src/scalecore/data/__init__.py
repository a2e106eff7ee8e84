"""Turn a table of rows in time into checked, split and normalised windows."""
