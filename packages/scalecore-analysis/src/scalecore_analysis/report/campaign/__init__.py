"""The page of a campaign: all its studies, grouped by target and data, with one verdict for each group."""
