"""From a table of rows in time to checked, split and normalised windows."""
