"""Analysis `report`: a report of each study as Markdown, JSON and an HTML page."""
