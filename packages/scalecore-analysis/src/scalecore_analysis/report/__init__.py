"""`report`: everything about one study on one page, for a terminal, for programs and for a browser."""
